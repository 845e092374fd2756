package pgdb

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/kernel"
)

// fenceTable has the largest token that was seen of each lock. It is none of the port's tables. A role
// that may make no tables in the schema needs it made, and the rights to read and write it.
const fenceTable = "hexdag_fences"

// fenced does a statement in one transaction with the check of the tokens that it is done under.
func (d *database) fenced(ctx context.Context, fences []kernel.Fence, s *statement) error {
	if err := d.makeFences(ctx); err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		for _, fence := range fences { // which are sorted, so that no two wait for each other
			var seen int64
			err := tx.QueryRow(ctx, "INSERT INTO "+d.fenceName()+" AS f (lock, token) VALUES ($1::bytea, $2::bigint) ON CONFLICT (lock) DO UPDATE SET token = greatest(f.token, excluded.token) RETURNING token",
				[]byte(fence.Lock), int64(fence.Token)).Scan(&seen)
			if err != nil {
				return err
			}
			if uint64(seen) > fence.Token {
				return kernel.Stale(fence, uint64(seen))
			}
		}
		_, err := tx.Exec(ctx, s.text.String(), s.args...)
		return err
	})
}

func (d *database) fenceName() string { return identifier(d.schema) + "." + identifier(fenceTable) }

// makeFences makes the table, once; of several hosts one after the other.
func (d *database) makeFences(ctx context.Context) error {
	if d.fences.Load() {
		return nil
	}
	err := pgx.BeginFunc(ctx, d.pool, func(tx pgx.Tx) error {
		var there bool
		err := tx.QueryRow(ctx, "SELECT to_regclass($1::text) IS NOT NULL FROM (SELECT pg_advisory_xact_lock(hashtext('hexdag_fences'))) AS alone", d.fenceName()).Scan(&there)
		if err != nil || there {
			return err
		}
		_, err = tx.Exec(ctx, "CREATE TABLE "+d.fenceName()+" (lock bytea PRIMARY KEY, token bigint NOT NULL)")
		return err
	})
	if err == nil {
		d.fences.Store(true)
	}
	return err
}
