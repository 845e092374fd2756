// Package sqlitestore keeps the memory port's values in a SQLite file. One
// connection writes and several read, without waiting for each other (WAL), and
// several processes may share the file.
package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/sqlitefile"
)

// readers is how many reads can run at once.
const readers = 4

// applicationID marks a file as this package's, with its schema of version 1.
const applicationID = 0x68_64_6d_31

// schema keeps what each tenant uses beside the entries, so that a Put need not count.
const schema = `
CREATE TABLE entries (
	tenant BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
	expires INTEGER, -- Unix nanoseconds; NULL is never
	PRIMARY KEY (tenant, key)
) WITHOUT ROWID;
CREATE INDEX entries_expires ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE used (tenant BLOB PRIMARY KEY, keys INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER entries_insert AFTER INSERT ON entries BEGIN
	INSERT INTO used VALUES (new.tenant, 1, length(new.key) + length(new.value))
	ON CONFLICT DO UPDATE SET keys = keys + 1, bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER entries_update AFTER UPDATE ON entries BEGIN
	UPDATE used SET bytes = bytes + length(new.value) - length(old.value) WHERE tenant = new.tenant;
END;
CREATE TRIGGER entries_delete AFTER DELETE ON entries BEGIN
	UPDATE used SET keys = keys - 1, bytes = bytes - length(old.key) - length(old.value) WHERE tenant = old.tenant;
	DELETE FROM used WHERE tenant = old.tenant AND keys = 0;
END;`

var files = sqlitefile.Kind{Name: "sqlite memory", ApplicationID: applicationID, Schema: schema, Readers: readers}

type store struct{ *sqlitefile.Store }

// Open opens the file, and makes it if there is none. What is wrong with the path is CodeConfig, a file that cannot be read
// CodeUnavailable.
func Open(ctx context.Context, path string) (driver.Store, error) {
	s, err := files.Open(ctx, path)
	if err != nil {
		return nil, kernel.At(storeError(err), kernel.Where{File: path})
	}
	return &store{s}, nil
}

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, now time.Time, tenant, key string) ([]byte, bool, error) {
	return get(ctx, s.Reader, now, tenant, key)
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func get(ctx context.Context, db querier, now time.Time, tenant, key string) ([]byte, bool, error) {
	var value []byte
	err := db.QueryRowContext(ctx, "SELECT value FROM entries WHERE tenant = ? AND key = ? AND (expires IS NULL OR expires > ?)", blob(tenant), blob(key), now.UnixNano()).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return value, err == nil, storeError(err)
}

// blob is a text as bytes: an order and an equality without any rules of language.
// An empty one is not NULL.
func blob(text string) []byte { return append([]byte{}, text...) }

// Put implements driver.Store.
func (s *store) Put(ctx context.Context, now time.Time, tenant string, p *driver.Put) (bool, error) {
	tx, err := s.Writer.BeginTx(ctx, nil)
	if err != nil {
		return false, storeError(err)
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "DELETE FROM entries WHERE expires <= ?", now.UnixNano()); err != nil {
		return false, storeError(err)
	}
	old, found, err := get(ctx, tx, now, tenant, p.Key)
	if err != nil {
		return false, err
	}
	if !p.Holds(old, found) {
		return false, nil
	}
	var expires any
	if !p.Expires.IsZero() {
		expires = p.Expires.UnixNano()
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO entries VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires`, blob(tenant), blob(p.Key), p.Value, expires); err != nil {
		return false, storeError(err)
	}
	var keys int
	var size int64
	if err := tx.QueryRowContext(ctx, "SELECT keys, bytes FROM used WHERE tenant = ?", blob(tenant)).Scan(&keys, &size); err != nil {
		return false, storeError(err)
	}
	if keys > p.Room.Keys || size > p.Room.Bytes {
		return false, driver.ErrFull
	}
	return true, storeError(tx.Commit())
}

// Delete implements driver.Store.
func (s *store) Delete(ctx context.Context, now time.Time, tenant, key string) (bool, error) {
	var expires sql.NullInt64
	err := s.Writer.QueryRowContext(ctx, "DELETE FROM entries WHERE tenant = ? AND key = ? RETURNING expires", blob(tenant), blob(key)).Scan(&expires)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil && (!expires.Valid || expires.Int64 > now.UnixNano()), storeError(err)
}

// listing selects a tenant's entries behind a key that begin with a prefix.
const listing = ` FROM entries WHERE tenant = ? AND key >= ? AND key > ? AND substr(key, 1, ?) = ? AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?`

func (s *store) list(ctx context.Context, columns string, now time.Time, tenant, prefix, after string, limit int, row func(rows *sql.Rows) (more bool, err error)) error {
	rows, err := s.Reader.QueryContext(ctx, "SELECT "+columns+listing,
		blob(tenant), blob(prefix), blob(after), len(prefix), blob(prefix), now.UnixNano(), limit)
	if err != nil {
		return storeError(err)
	}
	defer rows.Close()
	for rows.Next() {
		if more, err := row(rows); err != nil || !more {
			return storeError(err)
		}
	}
	return storeError(rows.Err())
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, now time.Time, tenant, prefix, after string, limit int) ([]string, error) {
	var keys []string
	err := s.list(ctx, "key", now, tenant, prefix, after, limit, func(rows *sql.Rows) (bool, error) {
		var key []byte
		err := rows.Scan(&key)
		keys = append(keys, string(key))
		return true, err
	})
	return keys, err
}

// Entries implements driver.Store.
func (s *store) Entries(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]driver.Entry, error) {
	var entries []driver.Entry
	err := s.list(ctx, "key, value", now, tenant, prefix, after, limit, func(rows *sql.Rows) (bool, error) {
		var key, value []byte
		err := rows.Scan(&key, &value)
		if bytes -= int64(len(key) + len(value)); bytes < 0 && len(entries) > 0 {
			return false, err
		}
		entries = append(entries, driver.Entry{Key: string(key), Value: value})
		return true, err
	})
	return entries, err
}

// Close implements driver.Store.
func (s *store) Close() error { return storeError(s.Store.Close()) }

func storeError(err error) error { return sqlitefile.Error("memory", err) }
