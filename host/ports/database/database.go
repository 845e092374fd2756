// Package database is the port to databases. It offers rows of one table at a
// time, by equality, and never SQL. Backends are the packages below this one;
// they implement package driver.
//
// # Why no SQL
//
// A capability restricts arguments: "database.query on the table orders". That
// holds only if the table is an argument. In a text of SQL a table hides in joins,
// subqueries, views and the functions of a dialect, and who would enforce a grant
// must parse all of them as the database does. So guests name a table and columns,
// which are looked up in the real schema, and values, which are bound.
//
// # Values
//
// null, numbers and texts are what they are: a JSON number without point or
// exponent is a 64-bit integer, any other a 64-bit float; on the way out an
// integer has neither point nor exponent, and a float one of them. true and false
// become 1 and 0. There is no way to write a BLOB, and a query that would read
// one is refused: name other columns. Invalid UTF-8 in a text is replaced.
package database

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

type (
	// Table is a table as the database describes it.
	Table = driver.Table
	// Column is one of its columns.
	Column = driver.Column
)

// Query asks for rows of a table.
type Query struct {
	Table      string
	Columns    []string                // nil is all
	Where      map[string]kernel.Value // column: the null, boolean, number or text that it must equal
	OrderBy    string                  // a column; "" is any order
	Descending bool
	Limit      int // the most rows; 0 is as many as the database allows
}

// Result is what a query found.
type Result struct {
	Rows      []map[string]kernel.Value
	Truncated bool // there are more rows than the limit, or the bytes of an answer, allow
}

// Port is a database. It may be used by several goroutines.
type Port struct{ driver driver.Database }

// New returns the port to the database behind d. Closing the port closes d.
func New(d driver.Database) *Port { return &Port{driver: d} }

// Close releases what the backend holds.
func (p *Port) Close() error { return p.driver.Close() }

// Tables returns the tables' names, sorted.
func (p *Port) Tables(ctx context.Context) ([]string, error) {
	names, err := p.driver.Tables(ctx)
	return names, portError(ctx, err)
}

// Describe returns the table of that name, or CodeNotFound.
func (p *Port) Describe(ctx context.Context, table string) (*Table, error) {
	t, err := p.driver.Describe(ctx, table)
	return t, portError(ctx, err)
}

// Query returns rows of one table. The error's code is CodeNotFound for a table
// that there is not, CodeArguments for anything else wrong with the query,
// CodeUnsupported for a BLOB, CodeLimit for a row that is too large, or one of
// [driver.Database].
func (p *Port) Query(ctx context.Context, q Query) (*Result, error) {
	table, err := p.Describe(ctx, q.Table)
	if err != nil {
		return nil, err
	}
	limits := p.driver.Limits()
	checked, err := checkQuery(table, q, limits)
	if err != nil {
		return nil, err
	}
	limit := checked.Limit
	checked.Limit++ // one more shows whether there are more
	result := &Result{Rows: []map[string]kernel.Value{}}
	size := 0
	for row, err := range p.driver.Query(ctx, checked) {
		if err != nil {
			return nil, portError(ctx, err)
		}
		if len(result.Rows) == limit {
			result.Truncated = true
			break
		}
		object, bytes, err := rowValue(q.Table, checked.Columns, row)
		if err != nil {
			return nil, err
		}
		if size += bytes; size > limits.MaxBytes {
			result.Truncated = true
			break
		}
		result.Rows = append(result.Rows, object)
	}
	if result.Truncated && len(result.Rows) == 0 {
		return nil, tooLarge(q.Table, limits.MaxBytes)
	}
	return result, nil
}

// Insert adds one row; columns that it leaves out get their defaults. The
// error's code is CodeDenied for a read-only database, CodeLockLost for a run whose lock is lost or
// that holds one no longer, by its token, else as Query's.
func (p *Port) Insert(ctx context.Context, table string, row map[string]kernel.Value) error {
	if p.driver.Limits().ReadOnly {
		return &kernel.Error{
			Code: kernel.CodeDenied, What: "no row can be inserted", Why: "the database is read-only",
			Fix: "set read_only to false in its configuration",
		}
	}
	t, err := p.Describe(ctx, table)
	if err != nil {
		return err
	}
	if len(row) == 0 {
		return argument("the row is empty; give at least one column")
	}
	cells, err := checkCells(t, "row", row)
	if err != nil {
		return err
	}
	fences, err := kernel.FencesFrom(ctx)
	if err != nil {
		return err
	}
	return portError(ctx, p.driver.Insert(ctx, table, cells, fences))
}

// checkQuery makes q a query of the driver's, after looking every name up.
func checkQuery(table *Table, q Query, limits driver.Limits) (*driver.Query, error) {
	out := &driver.Query{Table: table.Name, Columns: q.Columns, OrderBy: q.OrderBy, Descending: q.Descending, Limit: q.Limit}
	if q.Columns == nil {
		out.Columns = columnNames(table)
	}
	if len(out.Columns) == 0 {
		return nil, argument("columns is empty; leave it out for all")
	}
	for i, name := range out.Columns {
		if err := checkColumn(table, "columns", name); err != nil {
			return nil, err
		}
		if slices.Contains(out.Columns[:i], name) {
			return nil, argument("columns: %q occurs twice", kernel.Quote(name))
		}
	}
	var err error
	if out.Where, err = checkCells(table, "where", q.Where); err != nil {
		return nil, err
	}
	switch {
	case q.OrderBy != "":
		if err := checkColumn(table, "order_by", q.OrderBy); err != nil {
			return nil, err
		}
	case q.Descending:
		return nil, argument("descending needs order_by")
	}
	switch {
	case q.Limit < 0 || q.Limit > limits.MaxRows:
		return nil, argument("limit is %d; it is from 1 to %d, this database's most", q.Limit, limits.MaxRows)
	case q.Limit == 0:
		out.Limit = limits.MaxRows
	}
	return out, nil
}

// checkCells looks the columns up and makes the values scalars. The order is that
// of the names, so that equal arguments are equal queries.
func checkCells(table *Table, what string, values map[string]kernel.Value) ([]driver.Cell, error) {
	var cells []driver.Cell
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if err := checkColumn(table, what, name); err != nil {
			return nil, err
		}
		value, err := driver.Scalar(values[name])
		if err != nil {
			return nil, argument("%s: %q: %v", what, kernel.Quote(name), err)
		}
		cells = append(cells, driver.Cell{Column: name, Value: value})
	}
	return cells, nil
}

func checkColumn(table *Table, what, name string) error {
	names := columnNames(table)
	if slices.Contains(names, name) {
		return nil
	}
	return argument("%s: table %s has no column %q; it has %s",
		what, kernel.Quote(table.Name), kernel.Quote(name), kernel.Quote(strings.Join(names, ", ")))
}

func columnNames(table *Table) []string {
	names := make([]string, len(table.Columns))
	for i, c := range table.Columns {
		names[i] = c.Name
	}
	return names
}

func argument(format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "database: " + fmt.Sprintf(format, args...)}
}

func tooLarge(table string, limit int) error {
	return &kernel.Error{
		Code: kernel.CodeLimit, What: "a row of table " + kernel.Quote(table) + " is too large",
		Why: fmt.Sprintf("an answer has at most %d bytes", limit), Fix: "name fewer columns, or raise max_bytes in the database's configuration",
	}
}

// portError gives a driver's error a code. The context's end wins over what the
// driver made of it.
func portError(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the database failed", Why: kernel.Quote(err.Error()), Err: err}
}
