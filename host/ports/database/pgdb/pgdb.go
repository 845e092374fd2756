// Package pgdb is a database in Postgres. What a guest names becomes a quoted identifier
// of the schema, what it gives a bound parameter; a read-only database is one to the
// server, too.
//
// Tables are the ordinary and partitioned tables of one schema that the role may read or
// write; views, foreign tables and other schemas are not reachable.
//
// # Values
//
// Integers, floats and texts are the port's. A boolean is 1 or 0. A numeric is a number where
// a 64-bit integer or float writes the same digits, else a text with them. Any other type (a
// date, a UUID, JSON, an array) is the text that Postgres writes for it, times in UTC; a
// condition on one is that text. What is inserted is converted as Postgres converts a text to
// the column's type. A text has no NUL.
package pgdb

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

type database struct {
	limits driver.Limits
	schema string
	pool   *pgxpool.Pool
	tables sync.Map    // by name, the []column that Describe last found
	fences atomic.Bool // their table is there
}

// New connects to the database. What is wrong with the configuration is CodeConfig, a server
// that does not answer CodeUnavailable.
func New(ctx context.Context, cfg Config) (driver.Database, error) {
	config, err := cfg.Pool()
	if err != nil {
		return nil, err
	}
	d := &database{limits: cfg.limits(), schema: cfg.Schema}
	if d.schema == "" {
		d.schema = "public"
	}
	if d.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, databaseError(ctx, err)
	}
	if err := d.check(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// check sees that the server is there, has the schema, and took what it was told: a pooler
// between may have dropped it.
func (d *database) check(ctx context.Context) error {
	var readOnly, encoding string
	var found bool
	err := d.pool.QueryRow(ctx, `SELECT current_setting('default_transaction_read_only'), current_setting('server_encoding'),
		EXISTS (SELECT FROM pg_namespace WHERE nspname::text = $1::text)`, d.schema).Scan(&readOnly, &encoding, &found)
	switch {
	case err != nil:
		return databaseError(ctx, err)
	case d.limits.ReadOnly && readOnly != "on":
		return configError("connect to the server itself, or have the pooler pass default_transaction_read_only on", "read_only is set, but the server was not told so")
	case encoding != "UTF8":
		return configError("use a database in UTF8", "the database's encoding is %s", kernel.Quote(encoding))
	case !found:
		return configError("correct schema", "the database has no schema %s", kernel.Quote(d.schema))
	}
	return nil
}

// Limits implements driver.Database.
func (d *database) Limits() driver.Limits { return d.limits }

// Close implements driver.Database.
func (d *database) Close() error {
	d.pool.Close()
	return nil
}

// offered selects the tables that the port offers.
const offered = ` FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
	WHERE n.nspname::text = $1::text AND c.relkind IN ('r', 'p') AND has_any_column_privilege(c.oid, 'SELECT, INSERT')
	AND c.relname <> '` + fenceTable + `'`

// Tables implements driver.Database.
func (d *database) Tables(ctx context.Context) ([]string, error) {
	rows, err := d.pool.Query(ctx, `SELECT c.relname::text`+offered+` ORDER BY c.relname::text COLLATE "C"`, d.schema)
	if err != nil {
		return nil, databaseError(ctx, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, databaseError(ctx, err)
	}
	if names == nil {
		names = []string{}
	}
	return names, nil
}

// column is one of a table's, with what the driver makes of its type.
type column struct {
	driver.Column
	kind kind
	cast string // the type as a cast to it writes it
}

// described is a table as it was.
type described struct {
	columns []column
	at      time.Time
}

// fresh is how long a description is good for: asking the catalogue takes ten times as long as
// reading a row by its key. What the server allows, it still decides for each statement.
const fresh = time.Second

// Describe implements driver.Database. A table that has changed is seen within a second.
func (d *database) Describe(ctx context.Context, table string) (*driver.Table, error) {
	if !isText(table) {
		return nil, notFound(table)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if found, ok := d.tables.Load(table); ok {
		if last, _ := found.(described); time.Since(last.at) < fresh {
			return last.table(table), nil
		}
	}
	// A domain is what it is made of.
	rows, err := d.pool.Query(ctx, `SELECT a.attname::text, b.typname::text, format_type(a.atttypid, -1), NOT a.attnotnull,
			EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey))
		FROM pg_attribute AS a
			JOIN pg_type AS t ON t.oid = a.atttypid JOIN pg_type AS b ON b.oid = coalesce(nullif(t.typbasetype, 0), t.oid)
		WHERE a.attrelid = (SELECT c.oid`+offered+` AND c.relname::text = $2::text)
			AND a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(a.attrelid, a.attnum, 'SELECT, INSERT')
		ORDER BY a.attnum`, d.schema, table)
	if err != nil {
		return nil, databaseError(ctx, err)
	}
	columns, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		var base string
		err = row.Scan(&c.Name, &base, &c.cast, &c.Nullable, &c.PrimaryKey)
		c.kind = kindOf(base)
		c.Type = c.kind.port()
		return c, err
	})
	if err != nil {
		return nil, databaseError(ctx, err)
	}
	if len(columns) == 0 {
		d.tables.Delete(table)
		return nil, notFound(table)
	}
	found := described{columns, time.Now()}
	d.tables.Store(table, found)
	return found.table(table), nil
}

func (d described) table(name string) *driver.Table {
	t := &driver.Table{Name: name}
	for _, c := range d.columns {
		t.Columns = append(t.Columns, c.Column)
	}
	return t
}

// columns returns a table's columns by name, as they were described last: package database
// describes a table before it uses it.
func (d *database) columns(ctx context.Context, table string) (map[string]column, error) {
	found, ok := d.tables.Load(table)
	if !ok {
		if _, err := d.Describe(ctx, table); err != nil {
			return nil, err
		}
		found, _ = d.tables.Load(table)
	}
	byName := map[string]column{}
	last, _ := found.(described)
	for _, c := range last.columns {
		byName[c.Name] = c
	}
	return byName, nil
}

// isText reports whether Postgres can have a text.
func isText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

func notFound(table string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no table " + kernel.Quote(table)}
}

// identifier quotes a name, which may hold anything.
func identifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
