// Package sqlitedocs keeps documents in a SQLite file, which several processes may share. One connection writes and several read, without
// waiting for each other (WAL).
package sqlitedocs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
	"github.com/hexdag/hexdag/host/sqlitefile"
)

// readers is how many reads can run at once.
const readers = 4

// applicationID marks a file as this package's, with its schema of version 1.
const applicationID = 0x68_64_64_31

const schema = `
CREATE TABLE documents (
	tenant BLOB NOT NULL, collection BLOB NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
	revision INTEGER NOT NULL, place INTEGER NOT NULL, terms TEXT NOT NULL,
	PRIMARY KEY (tenant, collection, key)
);
CREATE INDEX documents_place ON documents (tenant, collection, place, key);
CREATE TABLE terms (
	tenant BLOB NOT NULL, collection BLOB NOT NULL, term BLOB NOT NULL, place INTEGER NOT NULL, key BLOB NOT NULL,
	PRIMARY KEY (tenant, collection, term, place, key)
) WITHOUT ROWID;`

var files = sqlitefile.Kind{Name: "sqlite data store", ApplicationID: applicationID, Schema: schema, Readers: readers}

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

// blob is a text as bytes: an order and an equality without any rules of language. An empty one is not NULL.
func blob(text string) []byte { return append([]byte{}, text...) }

const columns = "d.key, d.value, d.revision, d.place, d.terms"

func scan(row interface{ Scan(...any) error }) (driver.Document, error) {
	var d driver.Document
	var key, terms []byte
	err := row.Scan(&key, &d.Value, &d.Revision, &d.Order, &terms)
	if err == nil {
		d.Key, err = string(key), json.Unmarshal(terms, &d.Terms)
	}
	return d, err
}

// Load implements driver.Store.
func (s *store) Load(ctx context.Context, tenant, collection, key string) (*driver.Document, error) {
	d, err := scan(s.Reader.QueryRowContext(ctx, "SELECT "+columns+" FROM documents AS d WHERE tenant = ? AND collection = ? AND key = ?", blob(tenant), blob(collection), blob(key)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	return &d, nil
}

// Save implements driver.Store.
func (s *store) Save(ctx context.Context, tenant, collection string, writes []driver.Write) ([]bool, error) {
	tx, err := s.Writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, storeError(err)
	}
	defer tx.Rollback()
	w := &writing{of: []any{blob(tenant), blob(collection)}}
	defer w.close()
	if err := w.prepare(ctx, tx); err != nil {
		return nil, storeError(err)
	}
	done := make([]bool, len(writes))
	each := context.WithoutCancel(ctx) // the driver would start a goroutine for each statement, to interrupt it
	for i := range writes {
		if err := ctx.Err(); err != nil {
			return nil, storeError(err)
		}
		if done[i], err = w.write(each, &writes[i]); err != nil {
			return nil, storeError(err)
		}
	}
	return done, storeError(tx.Commit())
}

// writing is a transaction with its statements.
type writing struct {
	of                                []any // tenant and collection
	find, drop, unterm, upsert, index *sql.Stmt
}

func (w *writing) prepare(ctx context.Context, tx *sql.Tx) (err error) {
	prepare := func(text string) *sql.Stmt {
		if err != nil {
			return nil
		}
		var s *sql.Stmt
		s, err = tx.PrepareContext(ctx, text)
		return s
	}
	w.find = prepare("SELECT revision, place, terms FROM documents WHERE tenant = ? AND collection = ? AND key = ?")
	w.drop = prepare("DELETE FROM documents WHERE tenant = ? AND collection = ? AND key = ?")
	w.unterm = prepare("DELETE FROM terms WHERE tenant = ? AND collection = ? AND term = ? AND place = ? AND key = ?")
	w.upsert = prepare(`INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET value = excluded.value, revision = excluded.revision, place = excluded.place, terms = excluded.terms`)
	w.index = prepare("INSERT OR IGNORE INTO terms VALUES (?, ?, ?, ?, ?)")
	return err
}

func (w *writing) close() {
	for _, s := range []*sql.Stmt{w.find, w.drop, w.unterm, w.upsert, w.index} {
		if s != nil {
			_ = s.Close() // an error of one that was used is that of its use
		}
	}
}

func (w *writing) args(more ...any) []any { return append(slices.Clip(w.of), more...) }

func (w *writing) write(ctx context.Context, d *driver.Write) (bool, error) {
	key := blob(d.Key)
	var revision, place int64
	var before string
	err := w.find.QueryRowContext(ctx, w.args(key)...).Scan(&revision, &place, &before)
	found := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	if d.If != driver.Any && d.If != revision {
		return false, nil
	}
	terms := "[]"
	if len(d.Terms) > 0 {
		text, err := json.Marshal(d.Terms)
		if err != nil {
			return false, err
		}
		terms = string(text)
	}
	if found && (d.Delete || place != d.Order || before != terms) {
		var old []string
		if err := json.Unmarshal([]byte(before), &old); err != nil {
			return false, err
		}
		for _, term := range old {
			if _, err := w.unterm.ExecContext(ctx, w.args(blob(term), place, key)...); err != nil {
				return false, err
			}
		}
	}
	if d.Delete {
		_, err := w.drop.ExecContext(ctx, w.args(key)...)
		return found, err
	}
	if _, err := w.upsert.ExecContext(ctx, w.args(key, append([]byte{}, d.Value...), revision+1, d.Order, terms)...); err != nil {
		return false, err
	}
	if found && place == d.Order && before == terms {
		return true, nil
	}
	for _, term := range d.Terms {
		if _, err := w.index.ExecContext(ctx, w.args(blob(term), d.Order, key)...); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Query implements driver.Store.
func (s *store) Query(ctx context.Context, tenant, collection string, q driver.Query) ([]driver.Document, error) {
	from, args := matching(tenant, collection, q.Terms)
	from += " AND x.place >= ? AND x.place <= ?"
	args = append(args, q.Min, q.Max)
	behind, direction := ">", ""
	if q.Descending {
		behind, direction = "<", " DESC"
	}
	if q.After != nil {
		from += " AND (x.place, x.key) " + behind + " (?, ?)"
		args = append(args, q.After.Order, blob(q.After.Key))
	}
	rows, err := s.Reader.QueryContext(ctx, "SELECT "+columns+from+" ORDER BY x.place"+direction+", x.key"+direction+" LIMIT ?", append(args, q.Limit)...)
	if err != nil {
		return nil, storeError(err)
	}
	defer rows.Close()
	var found []driver.Document
	for rows.Next() {
		d, err := scan(rows)
		if err != nil {
			return nil, storeError(err)
		}
		found = append(found, d)
	}
	return found, storeError(rows.Err())
}

// matching selects documents d that have all terms, with x as what their places are read from.
func matching(tenant, collection string, terms []string) (string, []any) {
	of := []any{blob(tenant), blob(collection)}
	if len(terms) == 0 {
		return " FROM documents AS d JOIN documents AS x ON x.rowid = d.rowid WHERE x.tenant = ? AND x.collection = ?", of
	}
	var b strings.Builder
	b.WriteString(" FROM terms AS x CROSS JOIN documents AS d ON d.tenant = x.tenant AND d.collection = x.collection AND d.key = x.key WHERE x.tenant = ? AND x.collection = ? AND x.term = ?")
	args := append(slices.Clip(of), blob(terms[0]))
	for _, term := range terms[1:] {
		b.WriteString(" AND EXISTS (SELECT 1 FROM terms AS y WHERE y.tenant = x.tenant AND y.collection = x.collection AND y.term = ? AND y.place = x.place AND y.key = x.key)")
		args = append(args, blob(term))
	}
	return b.String(), args
}

// Count implements driver.Store.
func (s *store) Count(ctx context.Context, tenant, collection string, terms []string) (int64, error) {
	from, args := matching(tenant, collection, terms)
	var n int64
	err := s.Reader.QueryRowContext(ctx, "SELECT count(*)"+from, args...).Scan(&n)
	return n, storeError(err)
}

// Now implements driver.Store: processes that share a file are of one machine.
func (s *store) Now(ctx context.Context) (time.Time, error) { return time.Now(), ctx.Err() }

// Close implements driver.Store.
func (s *store) Close() error { return storeError(s.Store.Close()) }

func storeError(err error) error { return sqlitefile.Error("data store", err) }
