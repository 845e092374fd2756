// Package driver is what a database's backend implements. Who uses a database
// uses package database.
package driver

import (
	"context"
	"iter"

	"github.com/hexdag/hexdag/host/kernel"
)

// Type says what a column holds, as far as its backend knows.
type Type string

// The types. Any holds values of several.
const (
	Integer Type = "integer"
	Real    Type = "real"
	Numeric Type = "numeric" // integers and reals
	Text    Type = "text"
	Blob    Type = "blob"
	Any     Type = "any"
)

// Table is a table's name and its columns in their order.
type Table struct {
	Name    string
	Columns []Column
}

// Column describes a column.
type Column struct {
	Name       string
	Type       Type
	Nullable   bool
	PrimaryKey bool
}

// Value is what a column of a row holds: nil, int64, float64, string, or, only
// in what a driver returns, []byte.
type Value = any

// Cell is a column's value.
type Cell struct {
	Column string
	Value  Value
}

// Query asks for rows of a table.
type Query struct {
	Table      string
	Columns    []string // in the order of the rows' values; at least one
	Where      []Cell   // all must hold
	OrderBy    string   // "" is any order
	Descending bool
	Limit      int // the most rows; at least 1
}

// Limits are what the operator set for a database.
type Limits struct {
	ReadOnly bool // no row may be inserted
	MaxRows  int  // the most rows of one answer
	MaxBytes int  // the most bytes of one answer, and of one value
}

// The limits of a database whose operator set none.
const (
	DefaultMaxRows  = 1000
	DefaultMaxBytes = 1 << 20
)

// OrDefault returns l with the defaults in place of zeros.
func (l Limits) OrDefault() Limits {
	if l.MaxRows == 0 {
		l.MaxRows = DefaultMaxRows
	}
	if l.MaxBytes == 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	return l
}

// Reader is what a Database can be besides: one that takes a statement of its own SQL, for whoever may see all that its role may. That nothing
// changes is enforced by the database itself, whatever the statement is.
type Reader interface {
	// Select calls each with the columns and values of at most limit rows, in their order, until it returns false. A
	// parameter is nil, an int64, a float64 or a string. What is wrong with the statement is CodeArguments, and tells the database's words; what would
	// change something is CodeDenied, a row or a value above MaxBytes CodeLimit.
	Select(ctx context.Context, statement string, parameters []Value, limit int, each func(columns []string, row []kernel.Value) bool) error
}

// Database is a database as a backend offers it: tables, and nothing else. Views,
// system tables and other databases that the backend can see are not among them.
//
// # Duties
//
// Concurrency: every method may be called by several goroutines at once. A row
// whose Insert has returned is in every Query that starts later.
//
// Names: a table or column has the one name that Tables and Describe return, to
// the byte. Any other spelling of it, in other letters or other quotes, is an
// unknown name, because capabilities are patterns over that one name. Package
// database passes only names that Describe returned, and a driver still escapes
// them: a schema may change in between.
//
// Values: what a condition compares with is data, whatever it looks like. A
// number equals a number of the same value, a text the same text (by the column's
// collation), nil a NULL; nothing else is equal. What Insert stores, Query returns,
// except that a backend may convert it to its column's type. In an order, NULLs
// come first, then numbers, then texts.
//
// Ending: when the context ends, every method returns soon, with any error;
// package database gives it the context's code. A driver does not retry.
//
// Errors are kernel.Errors with CodeNotFound for a table that there is not,
// CodeArguments for a row that the table does not take, CodeLimit for a value
// above MaxBytes, CodeRetry for a lock that is held too long, CodeUnavailable for a
// database that cannot be reached or read. They hold no SQL and no path.
type Database interface {
	// Limits returns the limits. They never change.
	Limits() Limits

	// Tables returns the tables' names, sorted.
	Tables(ctx context.Context) ([]string, error)

	// Describe returns the table of that name.
	Describe(ctx context.Context, table string) (*Table, error)

	// Query returns the rows, one by one. An error ends them. The caller may stop
	// early, does not change a row, and calls nothing else of the driver meanwhile.
	Query(ctx context.Context, q *Query) iter.Seq2[[]Value, error]

	// Insert adds one row, wholly or not at all. Columns that are not among the
	// cells get their defaults. fences are the tokens of the locks that it is done under: a lock's token that is
	// smaller than one that an Insert came with before is a kernel.Stale error, and nothing is added. The check and the row
	// are one transaction, and what was seen survives as rows do.
	Insert(ctx context.Context, table string, row []Cell, fences []kernel.Fence) error

	// Close releases the database. Calls in flight may fail, and later ones do.
	Close() error
}
