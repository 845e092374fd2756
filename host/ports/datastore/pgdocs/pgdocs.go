// Package pgdocs keeps documents in a table of a PostgreSQL database that several hosts share.
package pgdocs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/pgtables"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

var kind = pgtables.Kind{
	Name: "data store", Holds: "documents", Version: 1, Lock: 7305805136421, Connections: 4,
	Schema: `
CREATE TABLE IF NOT EXISTS %[1]s (
	tenant bytea NOT NULL, collection bytea NOT NULL, key bytea NOT NULL, value bytea NOT NULL,
	revision bigint NOT NULL, place bigint NOT NULL, terms bytea[] NOT NULL, PRIMARY KEY (tenant, collection, key));
CREATE INDEX IF NOT EXISTS %[1]s_place ON %[1]s (tenant, collection, place, key);
CREATE INDEX IF NOT EXISTS %[1]s_terms ON %[1]s USING gin (terms)`,
}

// Config says where the documents are. The JSON form is what an operator configures.
type Config struct {
	URL   string `json:"url"`   // postgres://user:password@host/database, or key=value
	Table string `json:"table"` // hexdag_documents
}

type store struct {
	pool  *pgxpool.Pool
	table string
}

// Open connects, and makes the table where it is missing. The error is of CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (driver.Store, error) {
	s := &store{table: cmp.Or(c.Table, "hexdag_documents")}
	var err error
	if s.pool, err = kind.Open(ctx, c.URL, s.table); err != nil {
		return nil, err
	}
	return s, nil
}

const columns = "key, value, revision, place, terms"

func scan(row pgx.CollectableRow) (driver.Document, error) {
	var d driver.Document
	var key []byte
	var terms [][]byte
	err := row.Scan(&key, &d.Value, &d.Revision, &d.Order, &terms)
	d.Key = string(key)
	for _, term := range terms {
		d.Terms = append(d.Terms, string(term))
	}
	return d, err
}

func encoded(terms []string) [][]byte {
	list := make([][]byte, len(terms))
	for i, term := range terms {
		list[i] = []byte(term)
	}
	return list
}

// bytesOf is a text as bytes; an empty one is not NULL.
func bytesOf(text string) []byte { return append([]byte{}, text...) }

// Load implements driver.Store.
func (s *store) Load(ctx context.Context, tenant, collection, key string) (*driver.Document, error) {
	rows, err := s.pool.Query(ctx, "SELECT "+columns+" FROM "+s.table+" WHERE tenant = $1 AND collection = $2 AND key = $3", bytesOf(tenant), bytesOf(collection), bytesOf(key))
	if err != nil {
		return nil, failed(ctx, err)
	}
	d, err := pgx.CollectExactlyOneRow(rows, scan)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(ctx, err)
	}
	return &d, nil
}

// Save implements driver.Store. Rows are locked in the order of their keys, so that no two wait for each other.
func (s *store) Save(ctx context.Context, tenant, collection string, writes []driver.Write) ([]bool, error) {
	order := make([]int, len(writes))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(writes[a].Key, writes[b].Key) })
	batch := &pgx.Batch{}
	done := make([]bool, len(writes))
	for _, i := range order {
		text, args := s.statement(bytesOf(tenant), bytesOf(collection), &writes[i])
		batch.Queue(text, args...).Exec(func(tag pgconn.CommandTag) error {
			done[i] = tag.RowsAffected() > 0
			return nil
		})
	}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return tx.SendBatch(ctx, batch).Close() })
	if err != nil {
		return nil, failed(ctx, err)
	}
	return done, nil
}

func (s *store) statement(tenant, collection []byte, w *driver.Write) (string, []any) {
	const one = " WHERE tenant = $1 AND collection = $2 AND key = $3"
	args := []any{tenant, collection, bytesOf(w.Key)}
	if w.Delete {
		if w.If == driver.Any {
			return "DELETE FROM " + s.table + one, args
		}
		return "DELETE FROM " + s.table + one + " AND revision = $4", append(args, w.If)
	}
	args = append(args, bytesOf(string(w.Value)), w.Order, encoded(w.Terms))
	insert := "INSERT INTO " + s.table + " AS d (tenant, collection, key, value, place, terms, revision) VALUES ($1, $2, $3, $4, $5, $6, 1)"
	switch w.If {
	case driver.Any:
		return insert + " ON CONFLICT (tenant, collection, key) DO UPDATE SET value = excluded.value, place = excluded.place, terms = excluded.terms, revision = d.revision + 1", args
	case driver.Absent:
		return insert + " ON CONFLICT DO NOTHING", args
	}
	return "UPDATE " + s.table + " SET value = $4, place = $5, terms = $6, revision = revision + 1" + one + " AND revision = $7", append(args, w.If)
}

// Query implements driver.Store.
func (s *store) Query(ctx context.Context, tenant, collection string, q driver.Query) ([]driver.Document, error) {
	text := "SELECT " + columns + " FROM " + s.table + " WHERE tenant = $1 AND collection = $2 AND place >= $3 AND place <= $4"
	args := []any{bytesOf(tenant), bytesOf(collection), q.Min, q.Max}
	if len(q.Terms) > 0 {
		args = append(args, encoded(q.Terms))
		text += fmt.Sprintf(" AND terms @> $%d", len(args))
	}
	behind, direction := ">", ""
	if q.Descending {
		behind, direction = "<", " DESC"
	}
	if q.After != nil {
		args = append(args, q.After.Order, bytesOf(q.After.Key))
		text += fmt.Sprintf(" AND (place, key) %s ($%d, $%d)", behind, len(args)-1, len(args))
	}
	args = append(args, q.Limit)
	text += fmt.Sprintf(" ORDER BY place%s, key%s LIMIT $%d", direction, direction, len(args))
	rows, err := s.pool.Query(ctx, text, args...)
	if err != nil {
		return nil, failed(ctx, err)
	}
	found, err := pgx.CollectRows(rows, scan)
	return found, failed(ctx, err)
}

// Count implements driver.Store.
func (s *store) Count(ctx context.Context, tenant, collection string, terms []string) (int64, error) {
	var n int64
	err := s.pool.QueryRow(ctx, "SELECT count(*) FROM "+s.table+" WHERE tenant = $1 AND collection = $2 AND terms @> $3", bytesOf(tenant), bytesOf(collection), encoded(terms)).Scan(&n)
	return n, failed(ctx, err)
}

// Now implements driver.Store: it is the database's.
func (s *store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	err := s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, failed(ctx, err)
}

// Close implements driver.Store.
func (s *store) Close() error {
	s.pool.Close()
	return nil
}

func failed(ctx context.Context, err error) error { return pgtables.Error(ctx, kind.Name, err) }
