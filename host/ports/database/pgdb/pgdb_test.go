package pgdb_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/databasetest"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	server := testserver.Databases(t)
	databasetest.RunTyped(t, func(t *testing.T, tables databasetest.Tables, limits driver.Limits) driver.Database {
		url := server.NewDatabase()
		conn := connect(t, url)
		for name, rows := range tables {
			create(t, conn, name, rows)
		}
		d, err := pgdb.New(t.Context(), pgdb.Config{URL: url, ReadOnly: limits.ReadOnly, MaxRows: limits.MaxRows, MaxBytes: limits.MaxBytes})
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// connect opens the database past everything under test.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func create(t *testing.T, conn *pgx.Conn, name string, rows []map[string]driver.Value) {
	t.Helper()
	var names, declared []string
	for column := range rows[0] {
		names = append(names, column)
	}
	slices.Sort(names)
	for _, column := range names {
		typname := "text"
		for _, row := range rows {
			switch row[column].(type) {
			case int64:
				typname = "bigint"
			case float64:
				typname = "double precision"
			}
		}
		declared = append(declared, pgx.Identifier{column}.Sanitize()+" "+typname)
	}
	exec(t, conn, "CREATE TABLE "+pgx.Identifier{name}.Sanitize()+" ("+strings.Join(declared, ", ")+")")
	for _, row := range rows {
		var values []any
		for _, column := range names {
			values = append(values, row[column])
		}
		if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{name}, names, pgx.CopyFromRows([][]any{values})); err != nil {
			t.Fatal(err)
		}
	}
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// open makes a database with these statements.
func open(t *testing.T, server *testserver.PostgresServer, cfg pgdb.Config, sql string) (driver.Database, *database.Port) {
	t.Helper()
	cfg.URL = server.NewDatabase()
	exec(t, connect(t, cfg.URL), sql)
	return openURL(t, cfg)
}

func openURL(t *testing.T, cfg pgdb.Config) (driver.Database, *database.Port) {
	t.Helper()
	d, err := pgdb.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d, database.New(d)
}

func query(t *testing.T, p *database.Port, q database.Query) string {
	t.Helper()
	result, err := p.Query(t.Context(), q)
	if err != nil {
		t.Errorf("%+v: %v", q, err)
		return ""
	}
	rows := make([]any, len(result.Rows))
	for i, row := range result.Rows {
		rows[i] = row
	}
	text, err := kernel.EncodeJSON(rows)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestReadOnly: it is the server that refuses, whatever the host believes.
func TestReadOnly(t *testing.T) {
	server := testserver.Databases(t)
	d, p := open(t, server, pgdb.Config{ReadOnly: true}, "CREATE TABLE orders (id text)")
	err := d.Insert(t.Context(), "orders", []driver.Cell{{Column: "id", Value: "A"}}, nil)
	if kernel.CodeOf(err) != kernel.CodeDenied || !strings.Contains(fmt.Sprint(err), "25006") {
		t.Errorf("%v, want the server's own refusal", err)
	}
	if got := query(t, p, database.Query{Table: "orders"}); got != "[]" {
		t.Error(got)
	}
}

// TestTypes: each type is what the package says, equals itself, and comes back as it went.
func TestTypes(t *testing.T) {
	server := testserver.Databases(t)
	_, p := open(t, server, pgdb.Config{}, `CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
		CREATE TABLE a (small int2, big int8, yes bool, f4 float4, money numeric, fixed numeric(10, 2), long numeric, word varchar(5), pad char(5), id uuid, day date, at timestamptz,
			doc jsonb, tags text[], mood mood, mail email, raw bytea, span interval)`)
	row := map[string]kernel.Value{"small": 7, "big": int64(1) << 62, "yes": true, "f4": 0.5, "money": 12.5, "fixed": 7, "long": "3.14159265358979323846", "word": "tea", "pad": "ab",
		"id": "0e37df36-f698-11e6-8dd4-cb9ced3df976", "day": "2026-11-25", "at": "2026-11-25 12:00:00+02", "doc": `{"b": 1,  "a": [2]}`, "tags": "{x,y}", "mood": "glad", "mail": "a@b", "span": "90 minutes"}
	if err := p.Insert(t.Context(), "a", row); err != nil {
		t.Fatal(err)
	}
	for column, want := range map[string]string{"small": "7", "big": "4611686018427387904", "yes": "1", "f4": "0.5", "money": "12.5", "fixed": "7.0", "long": `"3.14159265358979323846"`, "word": `"tea"`, "pad": `"ab"`,
		"id": `"0e37df36-f698-11e6-8dd4-cb9ced3df976"`, "day": `"2026-11-25"`, "at": `"2026-11-25 10:00:00+00"`, "doc": `"{\"a\": [2], \"b\": 1}"`, "tags": `"{x,y}"`, "mood": `"glad"`, "mail": `"a@b"`, "span": `"PT1H30M"`} {
		value, err := kernel.DecodeJSON([]byte(want))
		if err != nil {
			t.Fatal(err)
		}
		if got := query(t, p, database.Query{Table: "a", Columns: []string{column}, Where: map[string]kernel.Value{column: value}}); got != `[{"`+column+`":`+want+`}]` {
			t.Errorf("%s: %s, want %s", column, got, want)
		}
	}
	for column, value := range map[string]kernel.Value{"yes": 2, "word": 1, "id": "0E37DF36-F698-11E6-8DD4-CB9CED3DF976", "at": "2026-11-25 12:00:00+02", "long": "3.14", "mood": "angry", "money": "12.5", "pad": "ab   ", "small": 7.5} {
		if got := query(t, p, database.Query{Table: "a", Columns: []string{"small"}, Where: map[string]kernel.Value{column: value}}); got != "[]" {
			t.Errorf("%s = %v finds %s", column, value, got)
		}
	}
	_, err := p.Query(t.Context(), database.Query{Table: "a", Columns: []string{"small"}, Where: map[string]kernel.Value{"day": "2026-13-45"}})
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "its column's type") {
		t.Errorf("a day that is none: %v", err)
	}
	if got := query(t, p, database.Query{Table: "a", Columns: []string{"raw"}}); got != `[{"raw":null}]` {
		t.Error(got)
	}
	for _, bad := range []map[string]kernel.Value{{"mood": "angry"}, {"mail": "nobody"}, {"word": "longer"}, {"small": 70000}, {"yes": 2}, {"id": "x"}} {
		if err := p.Insert(t.Context(), "a", bad); kernel.CodeOf(err) != kernel.CodeArguments || strings.Contains(err.Error(), "INSERT") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	table, err := p.Describe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]driver.Type{}
	for _, c := range table.Columns {
		types[c.Name] = c.Type
	}
	want := map[string]driver.Type{"small": driver.Integer, "big": driver.Integer, "yes": driver.Integer, "f4": driver.Real, "money": driver.Numeric, "fixed": driver.Numeric, "long": driver.Numeric, "raw": driver.Blob}
	for _, name := range []string{"word", "pad", "id", "day", "at", "doc", "tags", "mood", "mail", "span"} {
		want[name] = driver.Text
	}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSchema: tables of the schema that the role has a right to, with their keys.
func TestSchema(t *testing.T) {
	server := testserver.Databases(t)
	url := server.NewDatabase()
	exec(t, connect(t, url), `CREATE SCHEMA shop; CREATE SCHEMA hidden;
		CREATE TABLE shop.orders (id int, line int, note text NOT NULL, cost numeric, PRIMARY KEY (line, id)); CREATE TABLE shop.secret (pin int); CREATE TABLE hidden.orders (x int); CREATE TABLE public.other (x int);
		CREATE VIEW shop.seen AS SELECT * FROM shop.secret; CREATE MATERIALIZED VIEW shop.kept AS SELECT 1 AS one; CREATE SEQUENCE shop.counter;
		CREATE TABLE shop.parted (n int) PARTITION BY RANGE (n);
		CREATE ROLE clerk LOGIN PASSWORD 'x'; GRANT USAGE ON SCHEMA shop TO clerk; GRANT SELECT (id, line, note) ON shop.orders TO clerk; GRANT SELECT ON shop.parted, shop.seen TO clerk`)
	_, p := openURL(t, pgdb.Config{URL: strings.Replace(url, "hexdag@", "clerk:x@", 1), Schema: "shop"})
	names, err := p.Tables(t.Context())
	if diff := cmp.Diff([]string{"orders", "parted"}, names); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	table, err := p.Describe(t.Context(), "orders")
	want := []driver.Column{{Name: "id", Type: driver.Integer, PrimaryKey: true}, {Name: "line", Type: driver.Integer, PrimaryKey: true}, {Name: "note", Type: driver.Text}}
	if diff := cmp.Diff(want, table.Columns); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, name := range []string{"secret", "seen", "kept", "counter", "other", "pg_class"} {
		if _, err := p.Query(t.Context(), database.Query{Table: name}); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	err = p.Insert(t.Context(), "orders", map[string]kernel.Value{"id": 1})
	if kernel.CodeOf(err) != kernel.CodeDenied {
		t.Errorf("without the right to insert: %v", err)
	}
}

// TestChanged: a table that changes is seen as it is, soon, and no statement of the old one harms it.
func TestChanged(t *testing.T) {
	server := testserver.Databases(t)
	cfg := pgdb.Config{URL: server.NewDatabase()}
	conn := connect(t, cfg.URL)
	exec(t, conn, "CREATE TABLE orders (id text, old text)")
	_, p := openURL(t, cfg)
	if got := query(t, p, database.Query{Table: "orders"}); got != "[]" {
		t.Error(got)
	}
	exec(t, conn, "ALTER TABLE orders DROP old; ALTER TABLE orders ADD fresh int; INSERT INTO orders VALUES ('A', 1)")
	if _, err := p.Query(t.Context(), database.Query{Table: "orders", Columns: []string{"old"}}); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Errorf("a column that is gone: %v", err)
	}
	time.Sleep(1100 * time.Millisecond)
	if got := query(t, p, database.Query{Table: "orders"}); got != `[{"fresh":1,"id":"A"}]` {
		t.Error(got)
	}
	exec(t, conn, "DROP TABLE orders")
	time.Sleep(1100 * time.Millisecond)
	if _, err := p.Query(t.Context(), database.Query{Table: "orders"}); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Errorf("a table that is gone: %v", err)
	}
}

// TestTimeout: the server ends what takes too long, also while the host waits for a lock.
func TestTimeout(t *testing.T) {
	server := testserver.Databases(t)
	cfg := pgdb.Config{Timeout: 0.3, URL: server.NewDatabase()}
	conn := connect(t, cfg.URL)
	exec(t, conn, "CREATE TABLE orders (id text)")
	_, p := openURL(t, cfg)
	exec(t, conn, "BEGIN; LOCK TABLE orders")
	began := time.Now()
	_, err := p.Query(t.Context(), database.Query{Table: "orders"})
	if code := kernel.CodeOf(err); code != kernel.CodeTimeout && code != kernel.CodeRetry || time.Since(began) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.Query(ctx, database.Query{Table: "orders"}); kernel.CodeOf(err) != kernel.CodeTimeout {
		t.Errorf("the context's end: %v", err)
	}
	exec(t, conn, "COMMIT")
	if got := query(t, p, database.Query{Table: "orders"}); got != "[]" {
		t.Error(got)
	}
}

// TestLarge: a value above the limit is never sent, and an answer above it not to its end.
func TestLarge(t *testing.T) {
	server := testserver.Databases(t)
	_, p := open(t, server, pgdb.Config{MaxBytes: 10_000, Connections: 1}, `CREATE TABLE big (n int, t text, j jsonb, a text[]);
		INSERT INTO big SELECT n, repeat('x', 900), '{}', '{}' FROM generate_series(1, 500) AS n;
		INSERT INTO big VALUES (1000, repeat('x', 100000000), '{}', '{}'), (1001, '', to_jsonb(repeat('x', 20000)), '{}'), (1002, '', '{}', array_fill('x'::text, ARRAY[20000]))`)
	for _, n := range []int{1000, 1001, 1002} {
		_, err := p.Query(t.Context(), database.Query{Table: "big", Where: map[string]kernel.Value{"n": n}})
		if kernel.CodeOf(err) != kernel.CodeLimit {
			t.Errorf("%d: %v", n, err)
		}
	}
	result, err := p.Query(t.Context(), database.Query{Table: "big", OrderBy: "n"})
	if err != nil || !result.Truncated || len(result.Rows) != 10 {
		t.Errorf("%d rows, %v", len(result.Rows), err)
	}
	if got := query(t, p, database.Query{Table: "big", Columns: []string{"n"}, Where: map[string]kernel.Value{"n": 1000}}); got != `[{"n":1000}]` {
		t.Error(got)
	}
}

// TestCrash: a server that was killed is found again, and meanwhile missed.
func TestCrash(t *testing.T) {
	server := testserver.Databases(t)
	_, p := open(t, server, pgdb.Config{}, "CREATE TABLE orders (id text PRIMARY KEY)")
	for i := range 20 {
		if err := p.Insert(t.Context(), "orders", map[string]kernel.Value{"id": fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	server.Kill()
	if _, err := p.Query(t.Context(), database.Query{Table: "orders"}); kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("without a server: %v", err)
	}
	server.Restart()
	var result *database.Result
	var err error
	for range 5 { // a connection that was open is found dead once
		if result, err = p.Query(t.Context(), database.Query{Table: "orders"}); err == nil {
			break
		}
	}
	if err != nil || len(result.Rows) != 20 {
		t.Errorf("after the crash: %v, %v", result, err)
	}
	err = p.Insert(t.Context(), "orders", map[string]kernel.Value{"id": "7"})
	if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), "orders_pkey") {
		t.Errorf("a key twice: %v", err)
	}
}

func TestConfiguration(t *testing.T) {
	server := testserver.Databases(t)
	good := server.NewDatabase()
	for name, c := range map[string]struct {
		cfg  pgdb.Config
		code kernel.Code
		says string
	}{
		"no url":          {pgdb.Config{}, kernel.CodeConfig, "postgres://user"},
		"another scheme":  {pgdb.Config{URL: "mysql://root:hunter2@host/x"}, kernel.CodeConfig, "url is missing, or cannot be read"},
		"keys and values": {pgdb.Config{URL: "host=localhost password=hunter2"}, kernel.CodeConfig, "cannot be read"},
		"no port":         {pgdb.Config{URL: "postgres://a:hunter2@h:x/d"}, kernel.CodeConfig, "cannot be read"},
		"a service":       {pgdb.Config{URL: good + "&service=x"}, kernel.CodeConfig, `parameter service`},
		"options":         {pgdb.Config{URL: good + "&options=-cdefault_transaction_read_only=off"}, kernel.CodeConfig, "parameter options"},
		"two hosts":       {pgdb.Config{URL: good + "&host=elsewhere"}, kernel.CodeConfig, "two hosts"},
		"nobody there":    {pgdb.Config{URL: "postgres://a:hunter2@127.0.0.1:1/d"}, kernel.CodeUnavailable, "cannot be reached"},
		"no database":     {pgdb.Config{URL: strings.Replace(good, "/test1?", "/nothing?", 1)}, kernel.CodeUnavailable, "does not let the host in"},
		"no schema":       {pgdb.Config{URL: good, Schema: "shop"}, kernel.CodeConfig, "no schema shop"},
		"negative":        {pgdb.Config{URL: good, MaxRows: -1}, kernel.CodeConfig, "at least 1"},
		"for ever":        {pgdb.Config{URL: good, Timeout: 1e9}, kernel.CodeConfig, "3600"},
		"connections":     {pgdb.Config{URL: good, Connections: 1000}, kernel.CodeConfig, "at most 100"},
	} {
		d, err := pgdb.New(t.Context(), c.cfg)
		if d != nil || kernel.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v (%s), want %s and %q", name, err, kernel.CodeOf(err), c.code, c.says)
		}
	}
	for url, fine := range map[string]bool{"postgres://a:b@h/d": true, "postgres://a:b@h/d?sslmode=require": true, "postgres://a@h/d": false, "postgres:///d?host=/run": false, "postgres://a:b@h/d?sslkey=/etc/x": false,
		"postgres://a:b@10.0.0.5:5432,x@api.example.com:5432/d": false, "postgres://a:b@%2Frun%2Fpostgresql,x@h/d": false, "postgres://a:b@localhost,h/d": false} {
		if err := (pgdb.Config{URL: url}).CheckOwn(); (err == nil) != fine {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// BenchmarkQuery is beside the client that a user would take.
func BenchmarkQuery(b *testing.B) {
	server := testserver.Databases(b)
	url := server.NewDatabase()
	server.SQL(url, "CREATE TABLE orders (id text PRIMARY KEY, total float8); INSERT INTO orders SELECT n, n FROM generate_series(1, 10000) AS n")
	b.Run("port", func(b *testing.B) {
		d, err := pgdb.New(b.Context(), pgdb.Config{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		p := database.New(d)
		defer p.Close()
		for b.Loop() {
			if _, err := p.Query(b.Context(), database.Query{Table: "orders", Where: map[string]kernel.Value{"id": "77"}}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(context.Background())
		for b.Loop() {
			var id string
			var total float64
			if err := conn.QueryRow(b.Context(), "SELECT id, total FROM orders WHERE id = $1", "77").Scan(&id, &total); err != nil {
				b.Fatal(err)
			}
		}
	})
}
