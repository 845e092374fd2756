package pgdb

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
)

var _ driver.Reader = (*database)(nil)

// Select implements driver.Reader, in a read-only transaction of a role that can neither run programs nor read files of the server. The server
// makes a row JSON and measures it, so that one that is too large stays there.
func (d *database) Select(ctx context.Context, statement string, parameters []driver.Value, limit int, each func([]string, []kernel.Value) bool) error {
	text := strings.TrimRight(statement, "; \t\r\n")
	wrapped := fmt.Sprintf("SELECT CASE WHEN octet_length(t) <= %d THEN t END, n FROM (SELECT row_to_json(q)::text AS t, (SELECT array_to_string(array_agg(k), E'\\x01') FROM json_object_keys(row_to_json(q)) AS k) AS n FROM (\n%s\n) AS q LIMIT %d) AS r", d.limits.MaxBytes, text, limit)
	args := make([]any, len(parameters))
	for i, p := range parameters {
		switch p := p.(type) {
		case nil:
		case string:
			if !isText(p) {
				return &kernel.Error{Code: kernel.CodeArguments, What: "a parameter is no text", Why: "a text of Postgres is valid UTF-8 without NUL"}
			}
			args[i] = p
		default:
			args[i] = fmt.Sprint(p) // Postgres reads it as what the place takes
		}
	}
	err := d.undone(ctx, func(tx pgx.Tx) error {
		if err := harmless(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, wrapped, append([]any{pgx.QueryExecModeDescribeExec, pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			raw := rows.RawValues()
			if raw[0] == nil {
				return &kernel.Error{Code: kernel.CodeLimit, What: "a row is too large", Why: "it has more than " + strconv.Itoa(d.limits.MaxBytes) + " bytes as JSON", Fix: "select fewer columns, or have the operator raise max_bytes"}
			}
			value, err := kernel.DecodeJSON(raw[0])
			if err != nil {
				return err
			}
			object, _ := value.(map[string]any)
			columns := strings.Split(string(raw[1]), "\x01")
			row := make([]kernel.Value, len(columns))
			for i, name := range columns {
				row[i] = object[name]
			}
			if !each(columns, row) {
				return nil
			}
		}
		return rows.Err()
	})
	return statementError(ctx, err)
}

// undone does something in a read-only transaction that is rolled back whatever comes of it: what Postgres allows even there, such as
// a large object or a notification, leaves nothing behind, and neither do locks that outlive transactions.
func (d *database) undone(ctx context.Context, do func(tx pgx.Tx) error) (err error) {
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		if rollback := tx.Rollback(ctx); rollback == nil {
			_, rollback = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
			err = errors.Join(err, rollback)
		}
	}()
	return do(tx)
}

// cleanup is how long a connection has to be as it was; one that cannot is closed by the pool.
const cleanup = 5 * time.Second

// powers are the roles that reach past the database.
var powers = []string{"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"}

// harmless refuses a role for which a transaction that is read-only is no bound.
func harmless(ctx context.Context, tx pgx.Tx) error {
	var powerful bool
	err := tx.QueryRow(ctx, `SELECT rolsuper OR EXISTS (SELECT FROM pg_roles AS p WHERE p.rolname::text = ANY ($1::text[]) AND pg_has_role(current_user, p.oid, 'MEMBER')) FROM pg_roles WHERE rolname = current_user`, powers).Scan(&powerful)
	if err == nil && powerful {
		return &kernel.Error{Code: kernel.CodeDenied, What: "the database's role is too powerful for SQL of others", Why: "it is a superuser, or may read or run what is outside the database", Fix: "have the operator connect as a role that may SELECT alone"}
	}
	return err
}

// statementError is databaseError for who wrote the statement, and so may see what Postgres says of it.
func statementError(ctx context.Context, err error) error {
	var known *kernel.Error
	var e *pgconn.PgError
	if err == nil || errors.As(err, &known) || ctx.Err() != nil || !errors.As(err, &e) || slices.Contains([]string{"25006", "57014"}, e.Code) {
		return databaseError(ctx, err)
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "25":
		return &kernel.Error{Code: kernel.CodeDenied, What: "the database is read-only", Why: kernel.Quote(e.Message), Err: err}
	case "42", "22", "0A", "21", "2F":
		code := kernel.CodeArguments
		if e.Code == "42501" {
			code = kernel.CodeDenied
		}
		return &kernel.Error{Code: code, What: "the database does not take the statement", Why: kernel.Quote(e.Message), Fix: "correct it; it is one SELECT", Err: err}
	}
	return databaseError(ctx, err)
}
