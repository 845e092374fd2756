// Package sqlitedb is a database in a SQLite file, or in memory. One connection
// writes and several read, without waiting for each other (WAL).
//
// Tables are the file's ordinary tables. Views, virtual tables, SQLite's own tables
// and attached databases are not reachable. SQLite's integers, reals and texts are
// the port's; a column may convert what is inserted, by SQLite's rules of affinity.
// Declared types such as DATE or BOOLEAN change nothing.
package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"os"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/driver"
	"modernc.org/sqlite"
)

// readers is how many queries can run at once.
const readers = 4

type database struct {
	limits driver.Limits
	reader *sql.DB
	writer *sql.DB // nil if read-only; in memory, the same as reader
}

// New opens the database, and seeds it if it is empty. What is wrong with the
// configuration is CodeConfig, a file that is no readable database CodeUnavailable.
func New(ctx context.Context, cfg Config) (driver.Database, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	d := &database{limits: driver.Limits{ReadOnly: cfg.ReadOnly, MaxRows: cfg.MaxRows, MaxBytes: cfg.MaxBytes}.OrDefault()}
	open := d.openFile
	if cfg.Path == inMemory {
		open = d.openMemory
	}
	if err := open(ctx, cfg); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// openMemory opens the one connection that is the database.
func (d *database) openMemory(ctx context.Context, cfg Config) (err error) {
	if d.reader, err = open(ctx, cfg, writing, 1); err != nil {
		return err
	}
	d.writer = d.reader
	if err := seed(ctx, d.writer, cfg); err != nil || !cfg.ReadOnly {
		return err
	}
	d.writer = nil
	_, err = d.reader.ExecContext(ctx, "PRAGMA query_only = 1")
	return databaseError(err)
}

func (d *database) openFile(ctx context.Context, cfg Config) (err error) {
	if cfg.Seed != "" {
		if err := seedFile(ctx, cfg); err != nil {
			return err
		}
	}
	// The writer is first: it makes the files that WAL needs, which readers cannot.
	if !cfg.ReadOnly {
		if d.writer, err = open(ctx, cfg, writing, 1); err != nil {
			return err
		}
	}
	d.reader, err = open(ctx, cfg, reading, readers)
	return err
}

func seedFile(ctx context.Context, cfg Config) error {
	db, err := open(ctx, cfg, seeding, 1)
	if err != nil {
		return err
	}
	err = seed(ctx, db, cfg)
	return errors.Join(err, db.Close())
}

// open returns a pool of that many connections that has read the schema once.
func open(ctx context.Context, cfg Config, a access, connections int) (*sql.DB, error) {
	dsn, err := cfg.dsn(a)
	if err != nil {
		return nil, err
	}
	connector, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, configError(err, "", "path %s cannot be opened", kernel.Quote(cfg.Path))
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if _, err := isEmpty(ctx, db); ctx.Err() != nil {
		return nil, errors.Join(kernel.ContextError(ctx), db.Close())
	} else if err != nil {
		return nil, errors.Join(kernel.At(databaseError(err), kernel.Where{File: cfg.Path}), db.Close())
	}
	return db, nil
}

// seed runs the configured script if the database has no tables.
func seed(ctx context.Context, db *sql.DB, cfg Config) error {
	if cfg.Seed == "" {
		return nil
	}
	if empty, err := isEmpty(ctx, db); err != nil || !empty {
		return databaseError(err)
	}
	script, err := os.ReadFile(cfg.Seed)
	if err != nil {
		return configError(err, "correct seed", "seed: %s", kernel.Quote(err.Error()))
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return databaseError(err)
	}
	defer tx.Rollback()
	// Another process may have been first.
	if empty, err := isEmpty(ctx, tx); err != nil || !empty {
		return databaseError(err)
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return seedError(cfg, err)
	}
	if err := tx.Commit(); err != nil {
		return seedError(cfg, err)
	}
	return nil
}

func seedError(cfg Config, err error) error {
	return &kernel.Error{
		Code: kernel.CodeConfig, What: "the seed cannot be run", Where: kernel.Where{File: cfg.Seed}, Why: kernel.Quote(err.Error()),
		Fix: "correct it; it runs in one transaction and so holds no BEGIN and no COMMIT", Err: err,
	}
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func isEmpty(ctx context.Context, db querier) (bool, error) {
	var n int
	err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n)
	return n == 0, err
}

func (d *database) Limits() driver.Limits { return d.limits }

func (d *database) Close() error {
	var errs []error
	for _, db := range []*sql.DB{d.reader, d.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return databaseError(errors.Join(errs...))
}
