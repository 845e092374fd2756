package sqlitedb_test

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/databasetest"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"github.com/hexdag/hexdag/host/ports/database/sqlitedb"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformanceFile(t *testing.T) {
	databasetest.Run(t, func(t *testing.T, tables databasetest.Tables, limits driver.Limits) driver.Database {
		path := filepath.Join(t.TempDir(), "test.db")
		db := raw(t, path)
		exec(t, db, "CREATE TABLE gone (x); DROP TABLE gone") // so that it is a database, without tables
		for name, rows := range tables {
			create(t, db, name, rows)
		}
		return open(t, sqlitedb.Config{Path: path, ReadOnly: limits.ReadOnly, MaxRows: limits.MaxRows, MaxBytes: limits.MaxBytes})
	})
}

// In memory, the tables come from a seed, written as SQL.
func TestConformanceMemory(t *testing.T) {
	databasetest.Run(t, func(t *testing.T, tables databasetest.Tables, limits driver.Limits) driver.Database {
		path := filepath.Join(t.TempDir(), "scratch.db")
		db := raw(t, path)
		var script strings.Builder
		for name, rows := range tables {
			create(t, db, name, rows)
			script.WriteString(dump(t, db, name))
		}
		return open(t, sqlitedb.Config{
			Path: ":memory:", Seed: file(t, "seed.sql", script.String()),
			ReadOnly: limits.ReadOnly, MaxRows: limits.MaxRows, MaxBytes: limits.MaxBytes,
		})
	})
}

func open(t *testing.T, cfg sqlitedb.Config) driver.Database {
	t.Helper()
	d, err := sqlitedb.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// raw opens the file past everything under test.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { db.Close() })
	return db
}

func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func create(t *testing.T, db *sql.DB, name string, rows []map[string]driver.Value) {
	t.Helper()
	columns := slices.Sorted(maps.Keys(rows[0]))
	quoted := make([]string, len(columns))
	for i, c := range columns {
		quoted[i] = quote(c)
	}
	exec(t, db, "CREATE TABLE "+quote(name)+" ("+strings.Join(quoted, ", ")+")")
	for _, row := range rows {
		args := make([]any, len(columns))
		for i, c := range columns {
			args[i] = row[c]
		}
		exec(t, db, "INSERT INTO "+quote(name)+" VALUES (?"+strings.Repeat(", ?", len(columns)-1)+")", args...)
	}
}

// dump returns the SQL that makes the table again.
func dump(t *testing.T, db *sql.DB, name string) string {
	t.Helper()
	var script string
	if err := db.QueryRow("SELECT sql || ';' FROM sqlite_schema WHERE name = ?", name).Scan(&script); err != nil {
		t.Fatal(err)
	}
	rows, err := db.Query("SELECT * FROM " + quote(name))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, _ := rows.Columns()
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		literals := make([]string, len(values))
		for i, v := range values {
			literals[i] = literal(v)
		}
		script += "INSERT INTO " + quote(name) + " VALUES (" + strings.Join(literals, ", ") + ");"
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return script
}

func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return fmt.Sprintf("CAST(x'%x' AS TEXT)", v)
	case float64:
		return fmt.Sprintf("CAST(%.17e AS REAL)", v)
	}
	return fmt.Sprint(v)
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func query(t *testing.T, d driver.Database, q database.Query) (string, error) {
	t.Helper()
	result, err := database.New(d).Query(t.Context(), q)
	if err != nil {
		return "", err
	}
	rows := make([]any, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = row
	}
	text, err := kernel.EncodeJSON(rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

const schema = `
CREATE TABLE orders (id TEXT PRIMARY KEY, total REAL NOT NULL, placed DATE, paid BOOLEAN, raw BLOB, n INTEGER, anything);
INSERT INTO orders VALUES ('A-1', 12, '2026-01-02', 1, x'00ff', 7, 'x');
INSERT INTO orders VALUES ('7', 0, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE secret (pin INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO secret VALUES (1234);
CREATE VIEW peek AS SELECT pin FROM secret;
CREATE INDEX by_total ON orders (total);
CREATE TRIGGER no_b BEFORE INSERT ON orders WHEN NEW.id = 'B' BEGIN SELECT RAISE(ABORT, 'no B'); END;
`

func TestOnlyOrdinaryTables(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: filepath.Join(t.TempDir(), "x.db"), Seed: file(t, "s.sql", schema+`
		CREATE VIRTUAL TABLE words USING fts5(text); INSERT INTO words VALUES ('x');`)})
	tables, err := d.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"orders", "secret"}, tables); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}
	for _, name := range []string{"peek", "by_total", "no_b", "words", "words_data", "sqlite_sequence", "sqlite_autoindex_orders_1", "sqlite_schema"} {
		if _, err := query(t, d, database.Query{Table: name}); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("%s: error %v, want code %q", name, err, kernel.CodeNotFound)
		}
	}
}

func TestDescribe(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: ":memory:", Seed: file(t, "s.sql", schema)})
	table, err := d.Describe(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	want := &driver.Table{Name: "orders", Columns: []driver.Column{
		{Name: "id", Type: driver.Text, PrimaryKey: true}, {Name: "total", Type: driver.Real}, {Name: "placed", Type: driver.Numeric, Nullable: true},
		{Name: "paid", Type: driver.Numeric, Nullable: true}, {Name: "raw", Type: driver.Blob, Nullable: true},
		{Name: "n", Type: driver.Integer, Nullable: true}, {Name: "anything", Type: driver.Any, Nullable: true},
	}}
	if diff := cmp.Diff(want, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestDeclaredTypesChangeNothing(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: ":memory:", Seed: file(t, "s.sql", schema)})
	got, err := query(t, d, database.Query{Table: "orders", Columns: []string{"placed", "paid", "total", "n"}, Where: map[string]kernel.Value{"placed": "2026-01-02", "paid": true}})
	if want := `[{"n":7,"paid":1,"placed":"2026-01-02","total":12.0}]`; err != nil || got != want {
		t.Errorf("rows %s, %v; want %s", got, err, want)
	}
	for column, value := range map[string]kernel.Value{"n": "7", "total": "12.0", "paid": "1", "id": 7} {
		got, err := query(t, d, database.Query{Table: "orders", Columns: []string{"n"}, Where: map[string]kernel.Value{column: value}})
		if err != nil || got != "[]" {
			t.Errorf("%s = %#v finds %s, %v; want nothing", column, value, got, err)
		}
	}
}

func TestValuesWithoutJSON(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: ":memory:", Seed: file(t, "s.sql", schema+
		`CREATE TABLE odd (inf REAL, bad TEXT); INSERT INTO odd VALUES (9e999, CAST(x'41ff42' AS TEXT));`)})
	for _, q := range []database.Query{{Table: "orders"}, {Table: "orders", Columns: []string{"raw"}}, {Table: "odd", Columns: []string{"inf"}}} {
		if _, err := query(t, d, q); kernel.CodeOf(err) != kernel.CodeUnsupported {
			t.Errorf("%+v: error %v, want code %q", q, err, kernel.CodeUnsupported)
		}
	}
	if got, err := query(t, d, database.Query{Table: "odd", Columns: []string{"bad"}}); err != nil || got != "[{\"bad\":\"A\ufffdB\"}]" {
		t.Errorf("rows %s, %v", got, err)
	}
}

func TestRowsThatTheTableDoesNotTake(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: filepath.Join(t.TempDir(), "x.db"), Seed: file(t, "s.sql", schema+`
		CREATE TABLE strict (n INTEGER CHECK (n < 10), double INTEGER AS (n * 2)) STRICT;
		CREATE TABLE child (order_id TEXT REFERENCES orders (id));`)})
	p := database.New(d)
	for _, test := range []struct {
		table string
		row   map[string]kernel.Value
		says  string
	}{
		{"orders", map[string]kernel.Value{"id": "A-1", "total": 1}, "UNIQUE"},
		{"orders", map[string]kernel.Value{"id": "A-2"}, "NOT NULL"},
		{"orders", map[string]kernel.Value{"id": "B", "total": 1}, "no B"},
		{"strict", map[string]kernel.Value{"n": 11}, "CHECK"},
		{"strict", map[string]kernel.Value{"n": "x"}, "INTEGER"},
		{"child", map[string]kernel.Value{"order_id": "Z-9"}, "FOREIGN KEY"},
	} {
		err := p.Insert(t.Context(), test.table, test.row)
		if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s %v: error %v, want code %q and %q", test.table, test.row, err, kernel.CodeArguments, test.says)
		}
	}
	if err := p.Insert(t.Context(), "strict", map[string]kernel.Value{"double": 4}); err == nil {
		t.Error("a generated column was written")
	}
	if got, err := query(t, d, database.Query{Table: "strict"}); err != nil || got != "[]" {
		t.Errorf("rows %s, %v; want none", got, err)
	}
}

func TestHugeValuesAreNotRead(t *testing.T) {
	d := open(t, sqlitedb.Config{Path: ":memory:", MaxBytes: 1000, Seed: file(t, "s.sql", `
		CREATE TABLE big (id, text); INSERT INTO big VALUES (1, hex(zeroblob(500000))), (2, 'small');`)})
	if _, err := query(t, d, database.Query{Table: "big", OrderBy: "id"}); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Errorf("error %v, want code %q", err, kernel.CodeLimit)
	}
	if got, err := query(t, d, database.Query{Table: "big", Columns: []string{"id"}, OrderBy: "id"}); err != nil || got != `[{"id":1},{"id":2}]` {
		t.Errorf("rows %s, %v: the other columns of such a row are out of reach", got, err)
	}
	err := database.New(d).Insert(t.Context(), "big", map[string]kernel.Value{"text": strings.Repeat("x", 1<<20)})
	if kernel.CodeOf(err) != kernel.CodeLimit {
		t.Errorf("insert: error %v, want code %q", err, kernel.CodeLimit)
	}
}

func TestOpeningEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlitedb.New(ctx, sqlitedb.Config{Path: ":memory:"}); kernel.CodeOf(err) != kernel.CodeCanceled {
		t.Errorf("error %v, want code %q", err, kernel.CodeCanceled)
	}
}

func TestSeedRunsOnce(t *testing.T) {
	cfg := sqlitedb.Config{Path: filepath.Join(t.TempDir(), "odd ?#%41 name.db"), Seed: file(t, "s.sql", schema)}
	for i := range 3 {
		d := open(t, cfg)
		if err := database.New(d).Insert(t.Context(), "orders", map[string]kernel.Value{"id": fmt.Sprint("C-", i), "total": 1}); err != nil {
			t.Fatal(err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	cfg.ReadOnly = true
	got, err := query(t, open(t, cfg), database.Query{Table: "orders", Columns: []string{"id"}, OrderBy: "id"})
	if want := `[{"id":"7"},{"id":"A-1"},{"id":"C-0"},{"id":"C-1"},{"id":"C-2"}]`; err != nil || got != want {
		t.Errorf("rows %s, %v; want %s", got, err, want)
	}
	if _, err := os.Stat(cfg.Path); err != nil {
		t.Errorf("the file has another name: %v", err)
	}
}

func TestSeedIsWhollyOrNotAtAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	bad := file(t, "bad.sql", "CREATE TABLE a (x); INSERT INTO a VALUES (1); INSERT INTO nothing VALUES (2);")
	_, err := sqlitedb.New(t.Context(), sqlitedb.Config{Path: path, Seed: bad})
	if kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), "bad.sql") {
		t.Fatalf("error %v, want code %q and the file's name", err, kernel.CodeConfig)
	}
	d := open(t, sqlitedb.Config{Path: path, Seed: file(t, "good.sql", "CREATE TABLE b (x)")})
	if tables, err := d.Tables(t.Context()); err != nil || !slices.Equal(tables, []string{"b"}) {
		t.Errorf("tables %v, %v; want b alone", tables, err)
	}
}

func TestReadOnlyFileStaysAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db := raw(t, path)
	exec(t, db, schema)
	db.Close()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, sqlitedb.Config{Path: path, ReadOnly: true})
	if err := d.Insert(t.Context(), "orders", []driver.Cell{{Column: "id", Value: "C"}, {Column: "total", Value: 1.0}}, nil); kernel.CodeOf(err) != kernel.CodeDenied {
		t.Errorf("error %v, want code %q from the driver itself", err, kernel.CodeDenied)
	}
	if _, err := query(t, d, database.Query{Table: "orders", Columns: []string{"id"}}); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file changed, or %v", err)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("files %v, want the database alone", entries)
	}
}

func TestReadersDoNotWaitForAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, sqlitedb.Config{Path: path, Seed: file(t, "s.sql", schema)})
	db := raw(t, path)
	exec(t, db, "BEGIN IMMEDIATE; INSERT INTO secret VALUES (1)")
	if got, err := query(t, d, database.Query{Table: "secret"}); err != nil || got != `[{"pin":1234}]` {
		t.Errorf("rows %s, %v while another process writes", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := database.New(d).Insert(ctx, "secret", map[string]kernel.Value{"pin": 2})
	if kernel.CodeOf(err) != kernel.CodeTimeout {
		t.Errorf("error %v, want code %q while another process writes", err, kernel.CodeTimeout)
	}
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %s to notice the end", took)
	}
	exec(t, db, "ROLLBACK")
	if err := database.New(d).Insert(t.Context(), "secret", map[string]kernel.Value{"pin": 2}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAWriterDoesNotWaitForReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	d := open(t, sqlitedb.Config{Path: path, Seed: file(t, "s.sql", "CREATE TABLE a (n); INSERT INTO a VALUES (1), (2), (3)")})
	db := raw(t, path)
	var seen []driver.Value
	for row, err := range d.Query(t.Context(), &driver.Query{Table: "a", Columns: []string{"n"}, Limit: 10}) {
		if err != nil {
			t.Fatal(err)
		}
		exec(t, db, "INSERT INTO a VALUES (4)")
		seen = append(seen, row[0])
	}
	if diff := cmp.Diff([]driver.Value{int64(1), int64(2), int64(3)}, seen); diff != "" {
		t.Errorf("a query saw what was written meanwhile (-want +got):\n%s", diff)
	}
}

func TestLongQueriesEnd(t *testing.T) {
	seed := file(t, "s.sql", `CREATE TABLE many (n, text);
		WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM i WHERE n < 400000) INSERT INTO many SELECT n, hex(n * 7919 % 50021) FROM i;`)
	d := open(t, sqlitedb.Config{Path: ":memory:", Seed: seed})
	p := database.New(d)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := p.Query(ctx, database.Query{Table: "many", OrderBy: "text"}); kernel.CodeOf(err) != kernel.CodeTimeout {
		t.Errorf("error %v, want code %q", err, kernel.CodeTimeout)
	}
	if got, err := query(t, d, database.Query{Table: "many", Columns: []string{"n"}, Where: map[string]kernel.Value{"n": 7}}); err != nil || got != `[{"n":7}]` {
		t.Errorf("afterwards: rows %s, %v: a canceled query lost the database", got, err)
	}
}

func TestBadConfig(t *testing.T) {
	dir := t.TempDir()
	garbage := file(t, "garbage.db", strings.Repeat("This is no database. ", 100))
	for _, test := range []struct {
		config map[string]any
		code   kernel.Code
		says   string
	}{
		{map[string]any{}, kernel.CodeConfig, "path is missing"},
		{map[string]any{"file": "x"}, kernel.CodeConfig, "file"},
		{map[string]any{"path": filepath.Join(dir, "none.db")}, kernel.CodeConfig, "no such file"},
		{map[string]any{"path": filepath.Join(dir, "none.db"), "read_only": true}, kernel.CodeConfig, "no such file"},
		{map[string]any{"path": dir}, kernel.CodeConfig, "no file"},
		{map[string]any{"path": ":memory:", "seed": filepath.Join(dir, "none.sql")}, kernel.CodeConfig, "none.sql"},
		{map[string]any{"path": filepath.Join(dir, "no", "such", "dir.db"), "seed": garbage}, kernel.CodeUnavailable, "Unable to open"},
		{map[string]any{"path": garbage}, kernel.CodeUnavailable, "garbage.db: the file is no SQLite database"},
		{map[string]any{"path": garbage, "read_only": true}, kernel.CodeUnavailable, "no SQLite database"},
		{map[string]any{"path": ":memory:", "max_bytes": -1}, kernel.CodeConfig, "max_bytes"},
	} {
		_, err := sqlitedb.FromConfig(t.Context(), test.config)
		if kernel.CodeOf(err) != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%v: error %v (code %q), want code %q and %q", test.config, err, kernel.CodeOf(err), test.code, test.says)
		}
	}
}
