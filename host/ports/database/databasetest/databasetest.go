// Package databasetest is the suite that every backend of the database port passes.
package databasetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

// Tables are rows by the table's name. In each row is every column.
type Tables map[string][]map[string]driver.Value

// Harness makes what the suite tests: a database with exactly these tables and
// limits, whose columns take any value. The suite closes it.
type Harness func(t *testing.T, tables Tables, limits driver.Limits) driver.Database

// RunTyped runs the suite for a database whose columns have one type each, as their first
// value that is not nil has it, text without one, and whose texts have no NUL.
func RunTyped(t *testing.T, h Harness) {
	t.Run("TypedValues", h.testTypedValues)
	t.Run("TypedOrder", h.testTypedOrder)
	h.run(t)
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Values", h.testValues)
	t.Run("Order", h.testOrder)
	h.run(t)
}

func (h Harness) run(t *testing.T) {
	t.Run("Query", h.testQuery)
	t.Run("Limits", h.testLimits)
	t.Run("Schema", h.testSchema)
	t.Run("HostileNames", h.testHostileNames)
	t.Run("HostileValues", h.testHostileValues)
	t.Run("OddNames", h.testOddNames)
	t.Run("BadArguments", h.testBadArguments)
	t.Run("Insert", h.testInsert)
	t.Run("ReadOnly", h.testReadOnly)
	t.Run("ResultsAreTheCallers", h.testResultsAreTheCallers)
	t.Run("Concurrent", h.testConcurrent)
	t.Run("Ended", h.testEnded)
	t.Run("Fences", h.testFences)
	t.Run("FencesRace", h.testFencesRace)
}

// orders is the table that most tests use.
var orders = Tables{"orders": {
	{"id": "A-1", "total": 12.5, "items": int64(2), "note": nil},
	{"id": "A-2", "total": 7.0, "items": int64(1), "note": "gift"},
	{"id": "B-1", "total": 99.0, "items": int64(1), "note": ""},
}}

func (h Harness) open(t *testing.T, tables Tables, limits driver.Limits) *database.Port {
	t.Helper()
	p := database.New(h(t, tables, limits))
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return p
}

// call calls an operation as the door does, with the arguments written as JSON,
// and returns the reply as JSON.
func call(ctx context.Context, t *testing.T, p *database.Port, op, args string) (string, error) {
	t.Helper()
	value, err := kernel.DecodeJSON([]byte(args))
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	for _, o := range p.Ops() {
		if o.Name != op {
			continue
		}
		reply, err := o.Func(ctx, &kernel.PortCall{Op: op, Args: value.(map[string]any)})
		if err != nil {
			return "", err
		}
		text, err := kernel.EncodeJSON(reply.Value)
		if err != nil {
			t.Fatal(err)
		}
		return string(text), nil
	}
	t.Fatalf("there is no operation %s", op)
	return "", nil
}

// expect calls an operation and compares its reply, as JSON with sorted members.
func expect(t *testing.T, p *database.Port, op, args, want string) {
	t.Helper()
	got, err := call(t.Context(), t, p, op, args)
	if err != nil {
		t.Errorf("%s %s: %v", op, args, err)
	} else if got != want {
		t.Errorf("%s %s:\n got %s\nwant %s", op, args, got, want)
	}
}

// refuse calls an operation and compares the code of its error.
func refuse(t *testing.T, p *database.Port, op, args string, code kernel.Code, says string) {
	t.Helper()
	got, err := call(t.Context(), t, p, op, args)
	if kernel.CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), says) {
		t.Errorf("%s %s: %s, error %v (code %q), want code %q and %q", op, args, got, err, kernel.CodeOf(err), code, says)
	}
}

func (h Harness) testQuery(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	for args, want := range map[string]string{
		`{"table": "orders", "where": {"id": "A-2"}}`:                                             `{"rows":[{"id":"A-2","items":1,"note":"gift","total":7.0}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"items": 1, "note": "gift"}}`:           `{"rows":[{"id":"A-2"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id", "note"], "order_by": "total"}`:                     `{"rows":[{"id":"A-2","note":"gift"},{"id":"A-1","note":null},{"id":"B-1","note":""}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "order_by": "total", "descending": true}`:         `{"rows":[{"id":"B-1"},{"id":"A-1"},{"id":"A-2"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "order_by": "id", "limit": 2}`:                    `{"rows":[{"id":"A-1"},{"id":"A-2"}],"truncated":true}`,
		`{"table": "orders", "columns": ["id"], "order_by": "id", "limit": 3}`:                    `{"rows":[{"id":"A-1"},{"id":"A-2"},{"id":"B-1"}],"truncated":false}`,
		`{"table": "orders", "where": {"id": "C-9"}}`:                                             `{"rows":[],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {}, "order_by": "id", "limit": 1}`:       `{"rows":[{"id":"A-1"}],"truncated":true}`,
		`{"table": "orders", "columns": ["id"], "where": {"note": null}}`:                         `{"rows":[{"id":"A-1"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"note": ""}}`:                           `{"rows":[{"id":"B-1"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "order_by": "id", "where": {"items": true}}`:      `{"rows":[{"id":"A-2"},{"id":"B-1"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"items": 1.0, "total": 7}}`:             `{"rows":[{"id":"A-2"}],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"items": "1"}}`:                         `{"rows":[],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"note": 0}}`:                            `{"rows":[],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"id": "a-1"}}`:                          `{"rows":[],"truncated":false}`,
		`{"table": "orders", "columns": ["id"], "where": {"total": 1.25e1}, "descending": false}`: `{"rows":[{"id":"A-1"}],"truncated":false}`,
	} {
		expect(t, p, "database.query", args, want)
	}
}

func (h Harness) testLimits(t *testing.T) {
	var rows []map[string]driver.Value
	for i := range 20 {
		rows = append(rows, map[string]driver.Value{"n": int64(i), "text": strings.Repeat("x", 300)})
	}
	rows[19]["text"] = strings.Repeat("y", 5000)
	p := h.open(t, Tables{"rows": rows}, driver.Limits{MaxRows: 5, MaxBytes: 1000})
	expect(t, p, "database.query", `{"table": "rows", "columns": ["n"], "order_by": "n"}`,
		`{"rows":[{"n":0},{"n":1},{"n":2},{"n":3},{"n":4}],"truncated":true}`)
	refuse(t, p, "database.query", `{"table": "rows", "limit": 6}`, kernel.CodeArguments, "from 1 to 5")
	result, err := p.Query(t.Context(), database.Query{Table: "rows", OrderBy: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Rows) != 3 || !result.Truncated {
		t.Errorf("%d rows of 300 bytes, truncated %v, in an answer of 1000; want 3", len(result.Rows), result.Truncated)
	}
	refuse(t, p, "database.query", `{"table": "rows", "where": {"n": 19}}`, kernel.CodeLimit, "1000 bytes")
	expect(t, p, "database.query", `{"table": "rows", "columns": ["n"], "where": {"n": 19}}`, `{"rows":[{"n":19}],"truncated":false}`)
}

func (h Harness) testSchema(t *testing.T) {
	p := h.open(t, Tables{"b": {{"x": int64(1)}}, "a": {{"y": nil, "x": "1"}}}, driver.Limits{})
	expect(t, p, "database.list_tables", `{}`, `{"tables":["a","b"]}`)
	table, err := p.Describe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range table.Columns {
		names[c.Name] = true
		if !c.Nullable || c.PrimaryKey {
			t.Errorf("column %+v, want a nullable one that is no key", c)
		}
	}
	if diff := cmp.Diff(map[string]bool{"x": true, "y": true}, names); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	expect(t, h.open(t, nil, driver.Limits{}), "database.list_tables", `{}`, `{"tables":[]}`)
}

// hostileTables are other ways to write orders or secret, and names of what is no table.
var hostileTables = []string{
	"orders; drop table orders", `orders"--`, `orders" --`, `"orders"`, "[orders]", "`orders`", "'orders'", `orders"; select * from "secret`,
	"ORDERS", "Orders", "oRders", " orders", "orders ", "orders\x00", "orders\n", "orders,secret", "orders join secret", "orders/**/", "(select * from secret)",
	"main.orders", `main"."orders`, "temp.orders", "orders.id", "*", "%", "_rders", "order?", "$1", "?1", ":orders", "@orders",
	"оrders", "orderѕ", "ｏrders", "orders\u200b", "orde\u0301rs", "\u202esredro", "ſecret", "SECRET",
	"sqlite_master", "sqlite_schema", "main.sqlite_master", "sqlite_temp_master", "SQLITE_MASTER", "sqlite_sequence", "sqlite_stat1",
	"pragma_table_list", "pragma_table_info", "pragma_table_info('orders')", "dbstat", "sqlite_dbpage", "json_each", "generate_series", "information_schema.tables", "pg_catalog.pg_class",
	"rowid", "__proto__", strings.Repeat("orders", 10_000),
}

// hostileColumns are columns that the tables do not have.
var hostileColumns = []string{
	"rowid", "oid", "_rowid_", "ID", "Id", "id ", ` id`, `"id"`, `id"--`, "[id]", "`id`", "'id'", "*", "orders.id", "main.orders.id", "1", "1=1", "id; drop table orders",
	"id, secret.pin", "(select pin from secret)", "count(*)", "load_extension('x')", "id as pin", "іd", "ｉd", "id\u200b", "id\x00", "pin", "?", "%", "NULL", "true",
}

func (h Harness) testHostileNames(t *testing.T) {
	tables := Tables{"orders": orders["orders"], "secret": {{"pin": int64(1234)}}}
	p := h.open(t, tables, driver.Limits{})
	quoted := func(name string) string {
		text, err := json.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, name := range hostileTables {
		table := quoted(name)
		refuse(t, p, "database.query", `{"table": `+table+`}`, kernel.CodeNotFound, "there is no table")
		refuse(t, p, "database.query", `{"table": `+table+`, "columns": ["id"], "limit": 1}`, kernel.CodeNotFound, "there is no table")
		refuse(t, p, "database.describe_table", `{"table": `+table+`}`, kernel.CodeNotFound, "there is no table")
		refuse(t, p, "database.insert", `{"table": `+table+`, "row": {"id": 1}}`, kernel.CodeNotFound, "there is no table")
	}
	for _, name := range hostileColumns {
		column := quoted(name)
		for _, args := range []string{`"columns": [` + column + `]`, `"columns": ["id", ` + column + `]`, `"where": {` + column + `: 1}`, `"order_by": ` + column} {
			refuse(t, p, "database.query", `{"table": "orders", `+args+`}`, kernel.CodeArguments, "has no column")
		}
		refuse(t, p, "database.insert", `{"table": "orders", "row": {"id": "x", `+column+`: 1}}`, kernel.CodeArguments, "has no column")
	}
	h.checkUnharmed(t, p)
}

func (h Harness) checkUnharmed(t *testing.T, p *database.Port) {
	t.Helper()
	expect(t, p, "database.list_tables", `{}`, `{"tables":["orders","secret"]}`)
	expect(t, p, "database.query", `{"table": "orders", "columns": ["id"], "order_by": "id"}`, `{"rows":[{"id":"A-1"},{"id":"A-2"},{"id":"B-1"}],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "secret"}`, `{"rows":[{"pin":1234}],"truncated":false}`)
}

func (h Harness) testHostileValues(t *testing.T) {
	p := h.open(t, Tables{"orders": orders["orders"], "secret": {{"pin": int64(1234)}}}, driver.Limits{})
	for _, value := range []string{"' or '1'='1", `" or 1=1 --`, "A-1'; drop table secret; --", "A-1\x00", "%", "A-_", "?", "?1", "*", "id", `"id"`, "A-1 ", "х'00'"} {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, p, "database.query", `{"table": "orders", "where": {"id": `+string(text)+`}}`, `{"rows":[],"truncated":false}`)
	}
	h.checkUnharmed(t, p)
}

func (h Harness) testOddNames(t *testing.T) {
	names := []string{`we"ird; drop table "x`, "select", "naïve 日本", "a.b", "with space", "'", "`", "[x]", "?", "ключ", "--", "x\ty"}
	tables := Tables{}
	for _, name := range names {
		tables[name] = []map[string]driver.Value{{name: "here", "n": int64(1)}}
	}
	p := h.open(t, tables, driver.Limits{})
	for _, name := range names {
		result, err := p.Query(t.Context(), database.Query{
			Table: name, Columns: []string{name}, Where: map[string]kernel.Value{name: "here", "n": json.Number("1")}, OrderBy: name,
		})
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		if diff := cmp.Diff([]map[string]kernel.Value{{name: "here"}}, result.Rows); diff != "" {
			t.Errorf("%q: rows (-want +got):\n%s", name, diff)
		}
		if err := p.Insert(t.Context(), name, map[string]kernel.Value{name: "too"}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func (h Harness) testBadArguments(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	for args, says := range map[string]string{
		`{}`:                                                         "table must be a name",
		`{"table": ""}`:                                              "table must be a name",
		`{"table": ["orders"]}`:                                      "table must be a name",
		`{"table": null}`:                                            "table must be a name",
		`{"table": "orders", "sql": "x"}`:                            `unknown argument "sql"; it takes table, columns, where, order_by, descending, limit`,
		`{"table": "orders", "columns": "id"}`:                       "columns must be a list of names",
		`{"table": "orders", "columns": [7]}`:                        "columns must be a list of names",
		`{"table": "orders", "columns": []}`:                         "columns is empty",
		`{"table": "orders", "columns": ["id", "id"]}`:               "occurs twice",
		`{"table": "orders", "columns": ["idd"]}`:                    "it has id, items, note, total",
		`{"table": "orders", "where": "id = 1"}`:                     "where must be an object",
		`{"table": "orders", "where": {"id": {"$ne": 1}}}`:           "it must be null, a boolean, a number or a text",
		`{"table": "orders", "where": {"id": ["A-1"]}}`:              "it must be null, a boolean, a number or a text",
		`{"table": "orders", "where": {"id": 9223372036854775808}}`:  "does not fit 64 bits",
		`{"table": "orders", "where": {"id": 1e999}}`:                "does not fit 64 bits",
		`{"table": "orders", "order_by": 1}`:                         "order_by must be a name",
		`{"table": "orders", "order_by": "id", "descending": "yes"}`: "descending must be true or false",
		`{"table": "orders", "descending": true}`:                    "descending needs order_by",
		`{"table": "orders", "limit": 0}`:                            "limit must be an integer from 1",
		`{"table": "orders", "limit": "5"}`:                          "limit must be an integer from 1",
		`{"table": "orders", "limit": 1.5}`:                          "limit must be an integer from 1",
		`{"table": "orders", "limit": 1001}`:                         "from 1 to 1000",
	} {
		refuse(t, p, "database.query", args, kernel.CodeArguments, says)
	}
	for args, says := range map[string]string{
		`{"table": "orders"}`:                                    "the row is empty",
		`{"table": "orders", "row": {}}`:                         "the row is empty",
		`{"table": "orders", "row": [1]}`:                        "row must be an object",
		`{"table": "orders", "row": {"id": {}}}`:                 "it must be null, a boolean, a number or a text",
		`{"table": "orders", "row": {"id": 1}, "replace": true}`: `unknown argument "replace"`,
	} {
		refuse(t, p, "database.insert", args, kernel.CodeArguments, says)
	}
	refuse(t, p, "database.list_tables", `{"table": "orders"}`, kernel.CodeArguments, "it takes none")
	refuse(t, p, "database.describe_table", `{}`, kernel.CodeArguments, "table must be a name")
}

func (h Harness) testInsert(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	expect(t, p, "database.insert", `{"table": "orders", "row": {"id": "C-1", "total": 3.50, "note": "'); drop table orders; --"}}`, `{"inserted":1}`)
	expect(t, p, "database.insert", `{"table": "orders", "row": {"id": "C-2", "items": true, "total": null}}`, `{"inserted":1}`)
	expect(t, p, "database.query", `{"table": "orders", "where": {"id": "C-1"}}`,
		`{"rows":[{"id":"C-1","items":null,"note":"'); drop table orders; --","total":3.5}],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "orders", "where": {"id": "C-2"}}`,
		`{"rows":[{"id":"C-2","items":1,"note":null,"total":null}],"truncated":false}`)
}

func (h Harness) testReadOnly(t *testing.T) {
	p := h.open(t, orders, driver.Limits{ReadOnly: true})
	refuse(t, p, "database.insert", `{"table": "orders", "row": {"id": "C-1"}}`, kernel.CodeDenied, "read-only")
	refuse(t, p, "database.insert", `{"table": "nothing", "row": {"id": "C-1"}}`, kernel.CodeDenied, "read-only")
	expect(t, p, "database.query", `{"table": "orders", "where": {"id": "C-1"}}`, `{"rows":[],"truncated":false}`)
	d := h(t, orders, driver.Limits{ReadOnly: true})
	if !d.Limits().ReadOnly {
		t.Error("the driver does not say that it is read-only")
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

func (h Harness) testResultsAreTheCallers(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	for range 2 {
		result, err := p.Query(t.Context(), database.Query{Table: "orders", Where: map[string]kernel.Value{"id": "A-2"}})
		if err != nil {
			t.Fatal(err)
		}
		if note := result.Rows[0]["note"]; note != "gift" {
			t.Errorf("note %v, want gift", note)
		}
		result.Rows[0]["note"] = "changed"
	}
}

func (h Harness) testConcurrent(t *testing.T) {
	const writers, each = 4, 10
	p := h.open(t, Tables{"log": {{"who": int64(-1), "n": int64(0)}}}, driver.Limits{})
	var wg sync.WaitGroup
	for who := range writers {
		wg.Go(func() {
			for n := range each {
				if err := p.Insert(t.Context(), "log", map[string]kernel.Value{"who": who, "n": n}); err != nil {
					t.Errorf("insert: %v", err)
				}
				mine, err := p.Query(t.Context(), database.Query{Table: "log", Where: map[string]kernel.Value{"who": who}})
				if err != nil || len(mine.Rows) != n+1 {
					t.Errorf("after %d inserts: %+v, %v", n+1, mine, err)
				}
			}
		})
	}
	wg.Wait()
	all, err := p.Query(t.Context(), database.Query{Table: "log"})
	if err != nil || len(all.Rows) != writers*each+1 {
		t.Errorf("in the end: %v, %v; want %d rows", all, err, writers*each+1)
	}
}

func (h Harness) testEnded(t *testing.T) {
	p := h.open(t, orders, driver.Limits{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, args := range map[string]string{
		"database.query":          `{"table": "orders"}`,
		"database.insert":         `{"table": "orders", "row": {"id": "C-1"}}`,
		"database.describe_table": `{"table": "orders"}`,
		"database.list_tables":    `{}`,
	} {
		if _, err := call(ctx, t, p, op, args); kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Errorf("%s: error %v, want code %q", op, err, kernel.CodeCanceled)
		}
	}
	// The database lives on.
	expect(t, p, "database.query", `{"table": "orders", "where": {"id": "C-1"}}`, `{"rows":[],"truncated":false}`)
	expect(t, p, "database.query", `{"table": "orders", "columns": ["id"], "where": {"id": "A-1"}}`, `{"rows":[{"id":"A-1"}],"truncated":false}`)
}
