package memdb_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/databasetest"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"github.com/hexdag/hexdag/host/ports/database/memdb"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	databasetest.Run(t, func(t *testing.T, tables databasetest.Tables, limits driver.Limits) driver.Database {
		d, err := memdb.New(memdb.Config{Tables: tables, ReadOnly: limits.ReadOnly, MaxRows: limits.MaxRows, MaxBytes: limits.MaxBytes})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

func fromJSON(t *testing.T, text string) (driver.Database, error) {
	t.Helper()
	config, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return memdb.FromConfig(config.(map[string]any))
}

func TestFromConfig(t *testing.T) {
	d, err := fromJSON(t, `{"tables": {"orders": [{"id": 1, "paid": true}, {"id": 2, "note": "x"}]}, "max_rows": 1}`)
	if err != nil {
		t.Fatal(err)
	}
	result, err := database.New(d).Query(t.Context(), database.Query{Table: "orders", OrderBy: "id"})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := kernel.EncodeJSON([]any{result.Rows[0]}); string(text) != `[{"id":1,"note":null,"paid":1}]` || !result.Truncated {
		t.Errorf("rows %s, truncated %v", text, result.Truncated)
	}
}

func TestBadConfig(t *testing.T) {
	for config, says := range map[string]string{
		`{"table": {}}`:                            "table",
		`{"tables": []}`:                           "tables",
		`{"tables": {"t": []}}`:                    `table "t" must have`,
		`{"tables": {"t": [{}]}}`:                  `table "t" must have`,
		`{"tables": {"": [{"a": 1}]}}`:             "must have a name",
		`{"tables": {"t": [{"": 1}]}}`:             "named columns",
		`{"tables": {"t": [{"a": 1}, {"a": []}]}}`: "table t, row 2, column a",
		`{"tables": {}, "max_rows": -1}`:           "max_rows",
	} {
		_, err := fromJSON(t, config)
		if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want code %q and %q", config, err, kernel.CodeConfig, says)
		}
	}
}
