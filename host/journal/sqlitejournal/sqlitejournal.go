// Package sqlitejournal keeps journals in a SQLite file, for one process at a time; others may look into it, and
// clear it up, meanwhile. One connection writes and several read, without waiting for each other (WAL), and
// what is written is on the disk when it is said to be (synchronous=FULL).
package sqlitejournal

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hexdag/hexdag/host/flock"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sqlitefile"
)

// readers is how many reads can run at once.
const readers = 4

// applicationID marks a file as this package's: "hxj" and, as its last byte, the version of the schema.
const (
	applicationID = 0x68_78_6a_00 | schemaVersion
	schemaVersion = 2
)

// schema has no foreign keys: what belongs together is written and removed together.
const schema = schema1 + schema2

// schema1 is that of the first version.
const schema1 = `
CREATE TABLE runs (
	n INTEGER PRIMARY KEY, tenant BLOB NOT NULL, id BLOB NOT NULL, parent BLOB NOT NULL, pipeline BLOB NOT NULL, version BLOB NOT NULL,
	status TEXT NOT NULL, owner BLOB NOT NULL, epoch INTEGER NOT NULL,
	begun INTEGER NOT NULL, touched INTEGER NOT NULL, -- Unix nanoseconds
	entries INTEGER NOT NULL, bytes INTEGER NOT NULL,
	UNIQUE (tenant, id)
);
CREATE INDEX runs_begun ON runs (tenant, begun);
CREATE INDEX runs_running ON runs (tenant, begun) WHERE status = 'running';
CREATE TABLE chunks (
	run INTEGER NOT NULL, first INTEGER NOT NULL, count INTEGER NOT NULL, epoch INTEGER NOT NULL, data BLOB NOT NULL,
	UNIQUE (run, first)
);
CREATE TABLE blobs (tenant BLOB NOT NULL, digest BLOB NOT NULL, put INTEGER NOT NULL, data BLOB NOT NULL, UNIQUE (tenant, digest));
`

// schema2 is what the second adds: what suspended runs wait for.
const schema2 = `
ALTER TABLE runs ADD COLUMN waits BLOB;
ALTER TABLE runs ADD COLUMN until INTEGER; -- Unix nanoseconds
CREATE INDEX runs_suspended ON runs (tenant, begun) WHERE status = 'suspended';
CREATE INDEX runs_until ON runs (tenant, until) WHERE until IS NOT NULL;
CREATE TABLE waits (key BLOB NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (key, run)) WITHOUT ROWID;
CREATE INDEX waits_run ON waits (run);
`

// Config says where the journals are.
type Config struct {
	Path string `json:"path"` // the file, made if need be
}

// Store is a driver.Store in a file.
type Store struct {
	path   string
	owner  string   // "" of one that only visits
	lock   *os.File // held by the owner
	reader *sql.DB
	writer *sql.DB

	mu      sync.Mutex
	conn    *sql.Conn // the writer's
	add     statements
	version int64     // of the file: another once another process has written it
	written time.Time // when heads were

	waiting   sync.Mutex
	creations []*creation

	liveMu sync.Mutex
	live   map[key]*live
}

type key struct{ tenant, id string }

var _ driver.Store = (*Store)(nil)

// Open opens the file for the one process that works on runs; name is what it is called. The error is of CodeConfig, or of
// CodeUnavailable where another process has it open.
func Open(ctx context.Context, c Config, name string) (*Store, error) {
	return openStore(ctx, c, cmp.Or(name, "host")+"-"+rand.Text()[:10])
}

// Visit opens a file that another process may have open: runs cannot be created, claimed or appended to. There is CodeNotFound where there is no such file.
func Visit(ctx context.Context, c Config) (*Store, error) {
	if _, err := os.Stat(c.Path); errors.Is(err, os.ErrNotExist) {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "there is no journal", Where: kernel.Where{File: c.Path}, Why: "no run was recorded yet", Fix: "'hexdag run --durable' writes one", Err: err}
	}
	return openStore(ctx, c, "")
}

func openStore(ctx context.Context, c Config, owner string) (_ *Store, err error) {
	s := &Store{path: c.Path, owner: owner, live: map[key]*live{}}
	defer func() {
		if err != nil {
			err = errors.Join(kernel.At(storeError(err), kernel.Where{File: c.Path}), s.Close())
		}
	}()
	if err := checkPath(c.Path); err != nil {
		return nil, err
	}
	if owner != "" {
		if s.lock, err = lockFile(ctx, c.Path); err != nil {
			return nil, err
		}
	}
	if s.writer, err = sqlitefile.Open(c.Path, 1, url.Values{"mode": {"rw"}}, pragmas...); err != nil {
		return nil, err
	}
	if s.conn, err = s.writer.Conn(ctx); err != nil {
		return nil, err
	}
	if err := prepare(ctx, s.conn, c.Path); err != nil {
		return nil, err
	}
	if err := s.add.prepare(ctx, s.conn); err != nil {
		return nil, err
	}
	if owner != "" {
		if err := s.write(ctx, func() error { return s.recount(ctx, "status = 'running'") }); err != nil {
			return nil, err
		}
	}
	s.reader, err = sqlitefile.Open(c.Path, readers, sqlitefile.ReadOnly(), pragmas...)
	return s, err
}

// checkPath makes the file, for its owner alone, if there is none.
func checkPath(path string) error {
	if path == "" {
		return configError(nil, "path is missing")
	}
	if err := sqlitefile.Create(path); err != nil {
		return configError(err, "path: %s", kernel.Quote(err.Error()))
	}
	return nil
}

func configError(cause error, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the journal's file cannot be used: " + fmt.Sprintf(format, args...), Fix: "name a file that can be made, and is the journal's alone", Err: cause}
}

// patience is for how long Open waits for somebody who only looks whether a host is there.
const patience = 2 * time.Second

func lockFile(ctx context.Context, path string) (*os.File, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, configError(err, "%s", kernel.Quote(err.Error()))
	}
	within, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := flock.Lock(within, f, true); err != nil {
		f.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &kernel.Error{
			Code: kernel.CodeUnavailable, What: "another process has the journal open", Why: "a journal in a file is one host's at a time",
			Fix: "stop the other host, give this one a state folder of its own, or use the adapter postgres, which hosts share", Err: errors.Join(driver.ErrInUse, err),
		}
	}
	return f, nil
}

// attended reports whether a host has the file open.
func (s *Store) attended(ctx context.Context) bool {
	if s.owner != "" {
		return true
	}
	f, err := os.OpenFile(s.path+".lock", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close() // which gives the lock back
	within, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	return flock.Lock(within, f, false) != nil
}

// pragmas: what is redacted or removed is overwritten.
var pragmas = []string{"synchronous(2)", "secure_delete(1)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)"}

// prepare makes the schema in an empty file, and refuses another's.
func prepare(ctx context.Context, conn *sql.Conn, path string) error {
	var id, tables int
	if err := conn.QueryRowContext(ctx, "SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&id, &tables); err != nil {
		return err
	}
	switch {
	case id == applicationID:
		return nil
	case id == applicationID-1: // the first version
		return migrate(ctx, conn)
	case id&^0xff == applicationID&^0xff:
		return &kernel.Error{
			Code: kernel.CodeJournal, What: "the journal was written by a newer version", Why: fmt.Sprintf("its tables are of version %d, and this version knows %d", id&0xff, schemaVersion),
			Fix: "use that version of hexdag",
		}
	case tables > 0 || id != 0:
		return configError(nil, "%s is a database of something else", kernel.Quote(path))
	}
	// The first holds for a file without tables alone, the second not within a transaction.
	for _, statement := range []string{"PRAGMA auto_vacuum = INCREMENTAL", "PRAGMA journal_mode = WAL"} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	// A visitor may have been first.
	if err := tx.QueryRowContext(ctx, "SELECT application_id FROM pragma_application_id").Scan(&id); err != nil || id == applicationID {
		return err
	}
	if _, err := tx.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	return tx.Commit()
}

// migrate has a file of the first version be one of this.
func migrate(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var id int // another may have been first
	if err := tx.QueryRowContext(ctx, "SELECT application_id FROM pragma_application_id").Scan(&id); err != nil || id == applicationID {
		return err
	}
	if _, err := tx.ExecContext(ctx, schema2+fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
		return err
	}
	return tx.Commit()
}

// Compact implements driver.Store. Room is given back piece by piece: whoever writes does not wait for all of it.
func (s *Store) Compact(ctx context.Context) error {
	for free := int64(1); free > 0; {
		left, err := s.giveBack(ctx)
		if err != nil {
			return storeError(err)
		}
		if left == free { // what cannot be given back now
			break
		}
		free = left
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.checkpoint(ctx)
}

// giveBack gives back some pages that are free, and returns how many are left.
func (s *Store) giveBack(ctx context.Context) (left int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return 0, closedError()
	}
	// One row for each page: to read them is what does it.
	rows, err := s.conn.QueryContext(ctx, "PRAGMA incremental_vacuum(1000)")
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	rows.Close() // before what does not work while it is open
	err = s.conn.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&left)
	return left, err
}

func closedError() error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the journal is closed"}
}

// checkpoint empties the write-ahead log, which holds what was there before.
func (s *Store) checkpoint(ctx context.Context) error {
	if s.conn == nil {
		return closedError()
	}
	_, err := s.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return storeError(err)
}

// Close implements driver.Store. What this process has claimed is free as soon as another opens the file.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.conn != nil && s.reader != nil {
		errs = append(errs, s.transact(context.Background(), func() error { return s.writeHeads(context.Background(), nil) }))
	}
	errs = append(errs, s.add.close())
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
		s.conn = nil
	}
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	return storeError(errors.Join(errs...))
}

// storeError gives an error of SQLite's its code, and none of its words: they hold SQL.
func storeError(err error) error {
	if driver.Known(err) {
		return err
	}
	err = sqlitefile.Error("journal", err)
	var e *sqlite.Error
	var failed *kernel.Error
	if errors.As(err, &failed) && errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_CORRUPT {
		failed.Fix = "see what 'hexdag journal verify' can still read, and put a backup in its place"
	}
	return err
}
