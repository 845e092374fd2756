package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hexdag/hexdag/host/kernel"
)

// Store is a file of one kind of tables. One connection writes and several read, without waiting for each other (WAL).
type Store struct{ Reader, Writer *sql.DB }

// Kind is what files hold.
type Kind struct {
	Name          string // of who keeps them, for errors
	ApplicationID int    // that marks a file as one, with its schema's version
	Schema        string // statements, each with its semicolon
	Readers       int    // how many reads can run at once
}

// Open opens a file, and makes it if there is none. What is wrong with the path is CodeConfig; what SQLite says is as it is.
func (k *Kind) Open(ctx context.Context, path string) (*Store, error) {
	if path == "" {
		return nil, k.refuse(nil, "path is missing")
	}
	if err := Create(path); err != nil {
		return nil, k.refuse(err, "path: %s", kernel.Quote(err.Error()))
	}
	s := &Store{}
	var err error
	if s.Writer, err = Open(path, 1, url.Values{"mode": {"rwc"}, "_journal_mode": {"WAL"}}); err == nil {
		err = k.prepare(ctx, s.Writer, path)
	}
	if err == nil {
		s.Reader, err = Open(path, k.Readers, ReadOnly())
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (k *Kind) refuse(cause error, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the " + k.Name + "'s configuration: " + fmt.Sprintf(format, args...), Fix: "name a file that can be made, and is this store's alone", Err: cause}
}

// prepare makes the schema in an empty file, and refuses another's.
func (k *Kind) prepare(ctx context.Context, db *sql.DB, path string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var id, tables int
	if err := tx.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&id, &tables); err != nil {
		return err
	}
	switch {
	case id == k.ApplicationID:
		return nil
	case tables > 0 || id != 0:
		return k.refuse(nil, "%s is a database of something else", kernel.Quote(path))
	}
	if _, err := tx.ExecContext(ctx, k.Schema+fmt.Sprintf("PRAGMA application_id = %d", k.ApplicationID)); err != nil {
		return err
	}
	return tx.Commit()
}

// Error gives an error of SQLite's a code, and none of its words: they hold SQL. of is whose file it is. Errors with a code, and those
// of a context that ended, stay as they are.
func Error(of string, err error) error {
	var known *kernel.Error
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	failed := &kernel.Error{Code: kernel.CodeUnavailable, What: "the " + of + "'s file cannot be used", Err: err}
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return failed
	}
	code := e.Code() & 0xff // the rest says more than is needed
	failed.Why = sqlite.ErrorCodeString[code]
	switch code {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		failed.Code, failed.What, failed.Fix = kernel.CodeRetry, "the "+of+"'s file is locked", "try again"
	case sqlite3.SQLITE_NOTADB:
		failed.Fix = "name a file that is the " + of + "'s alone"
	case sqlite3.SQLITE_CORRUPT:
		failed.Fix = "put a backup in its place"
	case sqlite3.SQLITE_FULL:
		failed.Fix = "make room on the disk"
	case sqlite3.SQLITE_READONLY:
		failed.Fix = "let this user write it"
	}
	return failed
}

// Close closes what is open.
func (s *Store) Close() error {
	var problems []error
	for _, db := range []*sql.DB{s.Reader, s.Writer} {
		if db != nil {
			problems = append(problems, db.Close())
		}
	}
	return errors.Join(problems...)
}
