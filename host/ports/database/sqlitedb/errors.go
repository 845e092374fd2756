package sqlitedb

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// databaseError gives an error of SQLite's its code. SQLite's own words come
// along only where they are about the caller's row: others hold SQL.
func databaseError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var known *kernel.Error
	if errors.As(err, &known) {
		return err
	}
	var e *sqlite.Error
	failed := &kernel.Error{Code: kernel.CodeUnavailable, What: "the database cannot be used", Err: err}
	if !errors.As(err, &e) {
		return failed
	}
	code := e.Code() & 0xff // the rest says more than is needed
	failed.Why = sqlite.ErrorCodeString[code]
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		failed.Code, failed.What = kernel.CodeRetry, "the database is locked"
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH:
		failed.Code, failed.What, failed.Why = kernel.CodeArguments, "the table does not take the row", kernel.Quote(e.Error())
	case sqlite3.SQLITE_TOOBIG:
		failed.Code, failed.What = kernel.CodeLimit, "a value is too large"
		failed.Fix = "name other columns, or raise max_bytes in the database's configuration"
	case sqlite3.SQLITE_READONLY:
		failed.Code, failed.What = kernel.CodeDenied, "the database is read-only"
	case sqlite3.SQLITE_NOTADB:
		failed.What = "the file is no SQLite database"
	case sqlite3.SQLITE_FULL:
		failed.What = "the disk of the database is full"
	case sqlite3.SQLITE_ERROR:
		failed.Code, failed.What = kernel.CodeFailed, "the database refused the call"
	}
	return failed
}
