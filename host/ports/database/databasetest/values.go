package databasetest

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// values are by the JSON that writes them.
func values() map[string]driver.Value {
	return map[string]driver.Value{
		`9223372036854775807`: int64(math.MaxInt64), `-9223372036854775808`: int64(math.MinInt64),
		`9007199254740993`: int64(1<<53 + 1), `0`: int64(0),
		`0.1`: 0.1, `1.0`: 1.0, `-2.5e-10`: -2.5e-10, `1e+300`: 1e300, `1.7976931348623157e+308`: math.MaxFloat64,
		`null`: nil, `""`: "", `"NULL"`: "NULL", `"1"`: "1", `"日本 🦔"`: "日本 🦔", `"2026-01-02"`: "2026-01-02",
		`"x'00'"`: "x'00'", `"  "`: "  ",
	}
}

func (h Harness) testValues(t *testing.T) {
	all := values()
	all[`"a\u0000b"`] = "a\x00b"
	h.checkValues(t, all)
}

// testTypedValues: what cannot be kept is refused, and equals nothing.
func (h Harness) testTypedValues(t *testing.T) {
	h.checkValues(t, values())
	p := h.open(t, orders, driver.Limits{})
	refuse(t, p, "database.insert", `{"table": "orders", "row": {"note": "a\u0000b"}}`, kernel.CodeArguments, "NUL")
	refuse(t, p, "database.insert", `{"table": "orders", "row": {"items": "many"}}`, kernel.CodeArguments, "its column's type")
	refuse(t, p, "database.insert", `{"table": "orders", "row": {"items": 1.5}}`, kernel.CodeArguments, "its column's type")
	expect(t, p, "database.query", `{"table": "orders", "where": {"note": "a\u0000b"}}`, `{"rows":[],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "orders", "where": {"items": 1.5}}`, `{"rows":[],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "orders", "where": {"total": "12.5"}}`, `{"rows":[],"truncated":false}`)
}

// checkValues stores each in a table of its own, and finds it again.
func (h Harness) checkValues(t *testing.T, all map[string]driver.Value) {
	t.Helper()
	tables := Tables{}
	for text, value := range all {
		tables["t "+text] = []map[string]driver.Value{{"v": value}}
	}
	p := h.open(t, tables, driver.Limits{})
	for text := range all {
		name, err := json.Marshal("t " + text)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"rows":[{"v":%s}],"truncated":false}`, text)
		expect(t, p, "database.query", fmt.Sprintf(`{"table": %s}`, name), want)
		expect(t, p, "database.query", fmt.Sprintf(`{"table": %s, "where": {"v": %s}}`, name, text), want)
	}
	// As a float, this is the integer's neighbour.
	expect(t, p, "database.query", `{"table": "t 9007199254740993", "where": {"v": 9007199254740992.0}}`, `{"rows":[],"truncated":false}`)
}

func (h Harness) testOrder(t *testing.T) {
	mixed := []map[string]driver.Value{}
	for _, v := range []driver.Value{"b", int64(10), nil, 2.5, "B", "10", int64(-1), int64(2)} {
		mixed = append(mixed, map[string]driver.Value{"v": v})
	}
	p := h.open(t, Tables{"mixed": mixed}, driver.Limits{})
	expect(t, p, "database.query", `{"table": "mixed", "order_by": "v"}`,
		`{"rows":[{"v":null},{"v":-1},{"v":2},{"v":2.5},{"v":10},{"v":"10"},{"v":"B"},{"v":"b"}],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "mixed", "order_by": "v", "descending": true, "limit": 2}`,
		`{"rows":[{"v":"b"},{"v":"B"}],"truncated":true}`)
}

func (h Harness) testTypedOrder(t *testing.T) {
	rows := []map[string]driver.Value{}
	for i, s := range []any{"b", "B", "10", nil, "2", "é"} {
		rows = append(rows, map[string]driver.Value{"s": s, "n": []any{int64(10), int64(-1), nil, int64(2), int64(0), int64(3)}[i], "f": []any{2.5, -1e300, 0.0, 10.0, nil, 1e300}[i]})
	}
	p := h.open(t, Tables{"typed": rows}, driver.Limits{})
	for column, want := range map[string]string{"s": `null "10" "2" "B" "b" "é"`, "n": `null -1 0 2 3 10`, "f": `null -1e+300 0.0 2.5 10.0 1e+300`} {
		for _, descending := range []string{"false", "true"} {
			list := strings.Fields(want)
			if descending == "true" {
				slices.Reverse(list)
			}
			expect(t, p, "database.query", fmt.Sprintf(`{"table": "typed", "columns": [%q], "order_by": %q, "descending": %s}`, column, column, descending),
				fmt.Sprintf(`{"rows":[{%q:%s}],"truncated":false}`, column, strings.Join(list, fmt.Sprintf(`},{%q:`, column))))
		}
	}
}
