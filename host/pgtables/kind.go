package pgtables

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/kernel"
)

// Kind is a store that has one table, whose comment says so with its schema's version.
type Kind struct {
	Name        string // of the store, for errors
	Holds       string // what is in it, in the comment and the client's name
	Version     int
	Schema      string // statements, with %[1]s for the table's name
	Lock        int64  // of PostgreSQL's advisory locks, under which the table is made
	Connections int32  // at least so many can be open at once
}

// Open connects, and makes the table where it is missing, which takes a right that who uses it does not need. Several may do so at
// once. The error is of CodeConfig, or one of Error.
func (k *Kind) Open(ctx context.Context, url, table string) (*pgxpool.Pool, error) {
	config, err := Config(url, table, "hexdag-"+k.Holds)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the PostgreSQL of the " + k.Name + " cannot be used", Why: err.Error(), Fix: Fix}
	}
	config.MaxConns = max(config.MaxConns, k.Connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, Error(ctx, k.Name, err)
	}
	if err := k.prepare(ctx, pool, table); err != nil {
		pool.Close()
		return nil, Error(ctx, k.Name, err)
	}
	return pool, nil
}

func (k *Kind) prepare(ctx context.Context, pool *pgxpool.Pool, table string) error {
	there, err := k.check(ctx, pool, table)
	if there || err != nil {
		return err
	}
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", k.Lock); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, fmt.Sprintf(k.Schema+";\nCOMMENT ON TABLE %[1]s IS 'hexdag %[2]s, version %[3]d'", table, k.Holds, k.Version))
		return err
	})
	if err != nil {
		return err
	}
	_, err = k.check(ctx, pool, table)
	return err
}

// check reports whether the table is there, and refuses one of another version.
func (k *Kind) check(ctx context.Context, pool *pgxpool.Pool, table string) (there bool, err error) {
	var comment *string
	err = pool.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL, obj_description(to_regclass($1), 'pg_class')", table).Scan(&there, &comment)
	if err != nil || !there {
		return false, err
	}
	if want := fmt.Sprintf("hexdag %s, version %d", k.Holds, k.Version); comment == nil || *comment != want {
		return false, &kernel.Error{Code: kernel.CodeConfig, What: "the table of the " + k.Name + " is something else's, or another version's", Why: fmt.Sprintf("this one knows version %d", k.Version), Fix: "set table to another name"}
	}
	return true, nil
}

// Error gives an error of PostgreSQL's a code, and none of its words: they hold SQL. of is whose tables they are. Errors with a
// code stay as they are, and so does that of a context that ended.
func Error(ctx context.Context, of string, err error) error {
	var known *kernel.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	e := &kernel.Error{Code: kernel.CodeUnavailable, What: "the PostgreSQL of the " + of + " cannot be used", Fix: "check that it runs, and its url", Err: err}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		e.Why = "SQLSTATE " + kernel.Quote(refused.Code)
		switch refused.Code {
		case "55P03", "40001", "40P01", "53300", "57P03":
			e.Code = kernel.CodeRetry
		}
	}
	return e
}
