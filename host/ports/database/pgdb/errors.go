package pgdb

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hexdag/hexdag/host/kernel"
)

// databaseError gives an error its code. Postgres's own words come along only where they are
// about the caller's row or condition: others hold SQL.
func databaseError(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the database cannot be reached", Fix: "check that it runs, and the url of its configuration", Err: err}
	}
	failed := &kernel.Error{Code: kernel.CodeFailed, What: "the database refused the call", Why: "SQLSTATE " + kernel.Quote(e.Code), Err: err}
	aboutTheRow := func() {
		failed.Code, failed.What, failed.Why = kernel.CodeArguments, "the table does not take the row", kernel.Quote(e.Message)
	}
	switch e.Code {
	case "57014":
		failed.Code, failed.What, failed.Why = kernel.CodeTimeout, "the database did not answer in time", "it ended the call"
		failed.Fix = "ask for less, add an index, or raise timeout in the database's configuration"
	case "25006":
		failed.Code, failed.What = kernel.CodeDenied, "the database is read-only"
	case "42501":
		failed.Code, failed.What, failed.Fix = kernel.CodeDenied, "the database's role may not do this", "name other columns, or grant it to the role"
	case "55P03", "40001", "40P01", "53300", "57P03":
		failed.Code, failed.What = kernel.CodeRetry, "the database is busy"
	case "42P01":
		failed.Code, failed.What = kernel.CodeNotFound, "the table is no longer there"
	case "42703", "42804", "428C9", "P0001", "42883":
		aboutTheRow()
		if e.Code == "42703" || e.Code == "42883" {
			failed.What = "the table has no such column, or it has no order"
		}
	case "28P01", "28000", "3D000":
		failed.Code, failed.What = kernel.CodeUnavailable, "the database does not let the host in"
		failed.Fix = "correct the user, the password and the database of url"
	default:
		switch e.Code[:min(2, len(e.Code))] {
		case "22", "23":
			aboutTheRow()
			if strings.HasPrefix(e.Message, "invalid input") || e.Code == "22007" || e.Code == "22008" {
				failed.What = "a value is none of its column's type"
			}
		case "53", "57", "58", "08":
			failed.Code, failed.What = kernel.CodeUnavailable, "the database cannot be used"
		}
	}
	return failed
}
