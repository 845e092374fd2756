// Package pgvectors keeps vectors in Postgres with pgvector. A search looks at all vectors of the
// collection and is exact: an index of pgvector's is over a whole table, where one tenant's vectors would
// decide which of another's are found.
package pgvectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

// schema keeps the largest token that was seen of each lock, and what each collection has beside the vectors, so that an Upsert need not count. Tables
// of before there were labels are given room for them, which their owner alone may do.
const schema = `
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE IF NOT EXISTS hexdag_vector_collections (
	tenant bytea NOT NULL, collection text COLLATE "C" NOT NULL, dimension int NOT NULL, vectors bigint NOT NULL DEFAULT 0, bytes bigint NOT NULL DEFAULT 0,
	PRIMARY KEY (tenant, collection)
);
CREATE TABLE IF NOT EXISTS hexdag_vectors (
	tenant bytea NOT NULL, collection text COLLATE "C" NOT NULL, id text COLLATE "C" NOT NULL, embedding vector NOT NULL, metadata jsonb NOT NULL, bytes bigint NOT NULL, labels text,
	PRIMARY KEY (tenant, collection, id)
);
DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'hexdag_vectors'::regclass AND attname = 'labels') THEN ALTER TABLE hexdag_vectors ADD COLUMN labels text; END IF; END $$;
CREATE TABLE IF NOT EXISTS hexdag_vector_fences (
	tenant bytea NOT NULL, lock bytea NOT NULL, token bigint NOT NULL,
	PRIMARY KEY (tenant, lock)
)`

// Config says where the database is.
type Config struct {
	URL         string  `json:"url"`         // as of the database's adapter postgres
	Timeout     float64 `json:"timeout"`     // of one call, in seconds; 30 if 0
	Connections int     `json:"connections"` // at once; 4 if 0
}

type index struct {
	pool   *pgxpool.Pool
	metric driver.Metric
}

// Open connects to the database, and makes the tables if there are none. What is wrong with the
// configuration is CodeConfig, a server that does not answer CodeUnavailable.
func Open(ctx context.Context, cfg Config, metric driver.Metric) (driver.Index, error) {
	config, err := pgdb.Config{URL: cfg.URL, Timeout: cfg.Timeout, Connections: cfg.Connections}.Pool()
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, indexError(ctx, err)
	}
	x := &index{pool, metric}
	if err := x.prepare(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// prepare makes the tables; of several hosts that begin at once, one after the other.
func (x *index) prepare(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, x.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('hexdag_vectors'))"); err != nil {
			return err
		}
		for statement := range strings.SplitSeq(schema, ";\n") {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	var e *pgconn.PgError
	if errors.As(err, &e) && (e.Code == "0A000" || e.Code == "58P01" || e.Code == "42501") {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the database has no pgvector, or the role may not make the tables", Why: kernel.Quote(e.Message),
			Fix: "install pgvector, and have a superuser say CREATE EXTENSION vector and GRANT CREATE ON SCHEMA public", Err: err}
	}
	return indexError(ctx, err)
}

// Close implements driver.Index.
func (x *index) Close() error {
	x.pool.Close()
	return nil
}

// locked does f in a transaction, alone among those that change what the tenant has, unless a token is stale.
func (x *index) locked(ctx context.Context, tenant string, fences []kernel.Fence, f func(tx pgx.Tx) error) error {
	return indexError(ctx, pgx.BeginFunc(ctx, x.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended(encode($1::bytea, 'hex'), 7))", []byte(tenant)); err != nil {
			return err
		}
		for _, fence := range fences {
			if err := check(ctx, tx, tenant, fence); err != nil {
				return err
			}
		}
		return f(tx)
	}))
}

// check compares a token with the largest that was seen, and remembers it.
func check(ctx context.Context, tx pgx.Tx, tenant string, fence kernel.Fence) error {
	var seen int64
	err := tx.QueryRow(ctx, `INSERT INTO hexdag_vector_fences AS f (tenant, lock, token) VALUES ($1::bytea, $2::bytea, $3::bigint)
		ON CONFLICT (tenant, lock) DO UPDATE SET token = greatest(f.token, excluded.token) RETURNING token`,
		[]byte(tenant), []byte(fence.Lock), int64(fence.Token)).Scan(&seen) //nolint:gosec // a token counts what was acquired
	if err == nil && uint64(seen) > fence.Token { //nolint:gosec // it was one
		return kernel.Stale(fence, uint64(seen)) //nolint:gosec // as above
	}
	return err
}

// Upsert implements driver.Index.
func (x *index) Upsert(ctx context.Context, tenant, collection string, items []driver.Item, room driver.Room, fences []kernel.Fence) error {
	ids, vectors, metadata, labels, sizes := make([]string, len(items)), make([]string, len(items)), make([]string, len(items)), make([]string, len(items)), make([]int64, len(items))
	var bytes int64
	for i := range items {
		ids[i], vectors[i], metadata[i], sizes[i] = items[i].ID, text(items[i].Vector), string(items[i].Metadata), items[i].Size()
		if items[i].Labels != nil {
			document, err := json.Marshal(items[i].Labels)
			if err != nil {
				return err
			}
			labels[i] = string(document)
		}
		if len(items[i].Vector) != len(items[0].Vector) {
			return driver.ErrDimension
		}
		bytes += sizes[i]
	}
	return x.locked(ctx, tenant, fences, func(tx pgx.Tx) error {
		var dimension, oldVectors, allVectors int
		var oldBytes, allBytes int64
		err := tx.QueryRow(ctx, `INSERT INTO hexdag_vector_collections (tenant, collection, dimension) VALUES ($1::bytea, $2::text, $3::int)
			ON CONFLICT (tenant, collection) DO UPDATE SET dimension = hexdag_vector_collections.dimension RETURNING dimension`, []byte(tenant), collection, len(items[0].Vector)).Scan(&dimension)
		if err != nil {
			return err
		}
		if dimension != len(items[0].Vector) {
			return driver.ErrDimension
		}
		err = tx.QueryRow(ctx, `SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM hexdag_vectors WHERE tenant = $1::bytea AND collection = $2::text AND id = ANY ($3::text[])`, []byte(tenant), collection, ids).Scan(&oldVectors, &oldBytes)
		if err != nil {
			return err
		}
		err = tx.QueryRow(ctx, `SELECT coalesce(sum(vectors), 0)::bigint, coalesce(sum(bytes), 0)::bigint FROM hexdag_vector_collections WHERE tenant = $1::bytea`, []byte(tenant)).Scan(&allVectors, &allBytes)
		if err != nil {
			return err
		}
		more, moreBytes := len(items)-oldVectors, bytes-oldBytes
		if allVectors+more > room.Vectors || allBytes+moreBytes > room.Bytes {
			return driver.ErrFull
		}
		_, err = tx.Exec(ctx, `INSERT INTO hexdag_vectors (tenant, collection, id, embedding, metadata, bytes, labels)
			SELECT $1::bytea, $2::text, i, v::vector, m::jsonb, b, nullif(l, '') FROM unnest($3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[]) AS new (i, v, m, b, l)
			ON CONFLICT (tenant, collection, id) DO UPDATE SET embedding = excluded.embedding, metadata = excluded.metadata, bytes = excluded.bytes, labels = excluded.labels`,
			[]byte(tenant), collection, ids, vectors, metadata, sizes, labels)
		if err != nil {
			return err
		}
		return count(ctx, tx, tenant, collection, more, moreBytes)
	})
}

// count adds to what a collection has, and forgets one that has nothing.
func count(ctx context.Context, tx pgx.Tx, tenant, collection string, vectors int, bytes int64) error {
	if _, err := tx.Exec(ctx, `UPDATE hexdag_vector_collections SET vectors = vectors + $3::bigint, bytes = bytes + $4::bigint WHERE tenant = $1::bytea AND collection = $2::text`, []byte(tenant), collection, vectors, bytes); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `DELETE FROM hexdag_vector_collections WHERE tenant = $1::bytea AND collection = $2::text AND vectors = 0`, []byte(tenant), collection)
	return err
}

// text writes a vector as pgvector reads it.
func text(v []float32) string {
	b := []byte{'['}
	for i, x := range v {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(x), 'g', -1, 32)
	}
	return string(append(b, ']'))
}

// distances are pgvector's operators, and what makes a score of a distance.
var distances = map[driver.Metric]struct{ operator, score string }{
	driver.Cosine: {"<=>", "1 - (%s)"}, driver.Dot: {"<#>", "0 - (%s)"}, driver.Euclidean: {"<->", "0 - (%s)"},
}

// where writes conditions behind those on the tenant and the collection. Names and values are
// parameters, and a step into an object is no step into an array.
func where(conditions []driver.Condition, args []any) (string, []any) {
	var b strings.Builder
	for _, c := range conditions {
		b.WriteString(" AND metadata")
		for _, name := range c.Path {
			args = append(args, name)
			fmt.Fprintf(&b, " -> $%d::text", len(args))
		}
		args = append(args, string(c.Value))
		fmt.Fprintf(&b, " = $%d::jsonb", len(args))
	}
	return b.String(), args
}

// Search implements driver.Index.
func (x *index) Search(ctx context.Context, tenant, collection string, q *driver.Query) ([]driver.Match, error) {
	stat, err := x.Stat(ctx, tenant, collection)
	if err != nil || stat.Count == 0 {
		return nil, err
	}
	if stat.Dimension != len(q.Vector) {
		return nil, driver.ErrDimension
	}
	d := distances[x.metric]
	distance := "embedding " + d.operator + " $3::vector"
	conditions, args := where(q.Where, []any{[]byte(tenant), collection, text(q.Vector)})
	rows, err := x.pool.Query(ctx, `SELECT id, embedding::real[], metadata::text, labels, `+fmt.Sprintf(d.score, distance)+` AS score FROM hexdag_vectors
		WHERE tenant = $1::bytea AND collection = $2::text`+conditions+` ORDER BY score DESC, id LIMIT `+strconv.Itoa(q.Limit), args...)
	if err != nil {
		return nil, indexError(ctx, err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m driver.Match, err error) {
		var metadata string
		var labels *string
		if err = row.Scan(&m.ID, &m.Vector, &metadata, &labels, &m.Score); err != nil {
			return m, err
		}
		m.Metadata = []byte(metadata)
		if labels != nil {
			m.Labels = &kernel.Labels{}
			err = m.Labels.UnmarshalJSON([]byte(*labels))
		}
		return m, err
	})
	return found, indexError(ctx, err)
}

// Delete implements driver.Index.
func (x *index) Delete(ctx context.Context, tenant, collection string, ids []string, conditions []driver.Condition, fences []kernel.Fence) (n int, err error) {
	condition, args := where(conditions, []any{[]byte(tenant), collection})
	if ids != nil {
		condition, args = " AND id = ANY ($3::text[])", []any{[]byte(tenant), collection, ids}
	}
	err = x.locked(ctx, tenant, fences, func(tx pgx.Tx) error {
		var bytes int64
		err := tx.QueryRow(ctx, `WITH gone AS (DELETE FROM hexdag_vectors WHERE tenant = $1::bytea AND collection = $2::text`+condition+` RETURNING bytes)
			SELECT count(*), coalesce(sum(bytes), 0)::bigint FROM gone`, args...).Scan(&n, &bytes)
		if err != nil || n == 0 {
			return err
		}
		return count(ctx, tx, tenant, collection, -n, -bytes)
	})
	return n, err
}

// Stat implements driver.Index.
func (x *index) Stat(ctx context.Context, tenant, collection string) (driver.Collection, error) {
	var c driver.Collection
	err := x.pool.QueryRow(ctx, `SELECT vectors, dimension FROM hexdag_vector_collections WHERE tenant = $1::bytea AND collection = $2::text`, []byte(tenant), collection).Scan(&c.Count, &c.Dimension)
	if errors.Is(err, pgx.ErrNoRows) {
		return driver.Collection{}, nil
	}
	return c, indexError(ctx, err)
}

// indexError gives an error of Postgres its code, and none of its words: they hold SQL.
func indexError(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, driver.ErrFull), errors.Is(err, driver.ErrDimension):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the database of the vectors cannot be reached", Fix: "check that it runs, and the url of its configuration", Err: err}
	}
	failed := &kernel.Error{Code: kernel.CodeFailed, What: "the database of the vectors refused the call", Why: "SQLSTATE " + kernel.Quote(e.Code), Err: err}
	switch e.Code {
	case "22000": // a collection that was made anew in between
		return driver.ErrDimension
	case "57014":
		failed.Code, failed.What, failed.Fix = kernel.CodeTimeout, "the database of the vectors did not answer in time", "use a smaller collection, or raise timeout in its configuration"
	case "40001", "40P01", "55P03", "53300", "57P03":
		failed.Code, failed.What = kernel.CodeRetry, "the database of the vectors is busy"
	case "42501":
		failed.Code, failed.What = kernel.CodeUnavailable, "the database's role may not do this"
	case "22003", "22P02", "22P05", "22030":
		failed.Code, failed.What = kernel.CodeArguments, "the metadata holds what Postgres cannot keep as JSON"
	default:
		switch e.Code[:min(2, len(e.Code))] {
		case "53", "57", "58", "08":
			failed.Code, failed.What = kernel.CodeUnavailable, "the database of the vectors cannot be used"
		}
	}
	return failed
}
