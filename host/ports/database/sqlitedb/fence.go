package sqlitedb

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// fenceTable has the largest token that was seen of each lock. It is none of the port's tables.
const fenceTable = "hexdag_fences"

// rollbackTime is how long taking back may take once the context has ended.
const rollbackTime = 5 * time.Second

// fenced runs f in one transaction with the check of the tokens that it is done under.
func fenced(ctx context.Context, conn *sql.Conn, fences []kernel.Fence, f func() error) (err error) {
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil { // nobody else writes from here on
		return err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
			defer cancel()
			_, undone := conn.ExecContext(ctx, "ROLLBACK")
			err = errors.Join(err, undone)
		}
	}()
	if _, err := conn.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS main."+fenceTable+" (lock TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID"); err != nil {
		return err
	}
	for _, fence := range fences {
		var seen int64
		row := conn.QueryRowContext(ctx, "INSERT INTO main."+fenceTable+" VALUES (?1, ?2) ON CONFLICT (lock) DO UPDATE SET token = max(token, ?2) RETURNING token", fence.Lock, int64(fence.Token))
		if err := row.Scan(&seen); err != nil {
			return err
		}
		if uint64(seen) > fence.Token {
			return kernel.Stale(fence, uint64(seen))
		}
	}
	if err := f(); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, "COMMIT")
	return err
}
