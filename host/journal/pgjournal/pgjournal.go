// Package pgjournal keeps journals in tables of a PostgreSQL database that several hosts share. A host that has it open says so every few
// seconds, on the database's clock; the runs of one that has not done so for a while are free.
package pgjournal

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pgtables"
)

// schemaVersion is that of the tables, which their comment says.
const schemaVersion = 2

const (
	defaultTTL  = 15 * time.Second
	minTTL      = 100 * time.Millisecond
	maxTTL      = time.Hour
	sweepEvery  = 100 // renewals
	connections = 8
)

// Config says where the journals are. The JSON form is what an operator configures.
type Config struct {
	URL   string `json:"url"`   // postgres://user:password@host/database, or key=value
	Table string `json:"table"` // what the tables' names begin with; hexdag_journal
	// TTL is for how many seconds a host that has died keeps its runs; 15. A host that is cut off from the database for longer may lose
	// them to another.
	TTL float64 `json:"ttl"`
}

// Store is a driver.Store in a database.
type Store struct {
	pool  *pgxpool.Pool
	owner string // "" of one that only visits
	ttl   time.Duration
	sql   statements

	cancel  context.CancelFunc
	stopped chan struct{}
	close   func() error
}

var _ driver.Store = (*Store)(nil)

// Open connects, makes the tables where they are missing, and keeps this process's claims until Close; name is what it is called. The
// error is of CodeConfig, CodeUnavailable, or CodeJournal where a newer version has made the tables.
func Open(ctx context.Context, c Config, name string) (*Store, error) {
	return openStore(ctx, c, cmp.Or(name, "host")+"-"+rand.Text()[:10])
}

// Visit connects to look, and to clear up: runs cannot be created, claimed or appended to.
func Visit(ctx context.Context, c Config) (*Store, error) { return openStore(ctx, c, "") }

func openStore(ctx context.Context, c Config, owner string) (*Store, error) {
	table := cmp.Or(c.Table, "hexdag_journal")
	ttl := cmp.Or(time.Duration(c.TTL*float64(time.Second)), defaultTTL)
	config, err := pgtables.Config(c.URL, table, "hexdag-journal")
	if err == nil && (ttl < minTTL || ttl > maxTTL) {
		err = fmt.Errorf("ttl is from %v to %v seconds", minTTL.Seconds(), maxTTL.Seconds())
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the journal's PostgreSQL cannot be used", Why: err.Error(), Fix: pgtables.Fix}
	}
	config.MaxConns = max(config.MaxConns, connections)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, failed(ctx, err)
	}
	s := &Store{pool: pool, owner: owner, ttl: ttl, sql: statementsFor(table), stopped: make(chan struct{})}
	s.close = sync.OnceValue(s.end)
	if err := s.prepare(ctx); err != nil {
		pool.Close()
		return nil, failed(ctx, err)
	}
	var background context.Context
	background, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if owner == "" {
		close(s.stopped)
		return s, nil
	}
	if err := s.renew(ctx); err != nil {
		s.cancel()
		pool.Close()
		return nil, failed(ctx, err)
	}
	go s.keep(background)
	return s, nil
}

// prepare makes the tables where they are not there, which takes a right that who uses them does not need. Several may do so at once.
func (s *Store) prepare(ctx context.Context) error {
	there, err := s.check(ctx)
	if there || err != nil {
		return err
	}
	// Of an earlier version, too: what is missing is added.
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(7305805136419)"); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, s.sql.create)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.check(ctx)
	return err
}

// check reports whether the tables are there as this version has them, and refuses those of a later one.
func (s *Store) check(ctx context.Context) (there bool, err error) {
	var comment *string
	if err := s.pool.QueryRow(ctx, s.sql.version).Scan(&there, &comment); err != nil || !there {
		return false, err
	}
	var version int
	if comment == nil {
		comment = new(string)
	}
	if _, err := fmt.Sscanf(*comment, "hexdag journal, version %d", &version); err != nil || version < 1 {
		return false, &kernel.Error{Code: kernel.CodeConfig, What: "the journal's tables are something else's", Fix: "set table to another name, or restore the comment on the table of runs"}
	}
	if version > schemaVersion {
		return false, &kernel.Error{
			Code: kernel.CodeJournal, What: "the journal was written by a newer version", Why: fmt.Sprintf("its tables are of version %d, and this version knows %d", version, schemaVersion),
			Fix: "use that version of hexdag",
		}
	}
	return version == schemaVersion, nil
}

// keep says that this host is there, three times in each TTL.
func (s *Store) keep(ctx context.Context) {
	defer close(s.stopped)
	tick := time.NewTicker(s.ttl / 3)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		within, cancel := context.WithTimeout(ctx, s.ttl)
		// One that fails is followed by another; what comes of it is in the epochs of the runs.
		if err := s.renew(within); err == nil && n%sweepEvery == 0 {
			_, _ = s.pool.Exec(within, s.sql.forget)
		}
		cancel()
	}
}

func (s *Store) renew(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, s.sql.renew, escape(s.owner), s.ttl.Seconds())
	return err
}

// Close implements driver.Store.
func (s *Store) Close() error { return s.close() }

func (s *Store) end() error {
	s.cancel()
	<-s.stopped
	defer s.pool.Close()
	if s.owner == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.pool.Exec(ctx, s.sql.leave, escape(s.owner)); err != nil {
		return failed(ctx, err)
	}
	return nil
}

// Compact implements driver.Store. The server's own vacuum makes the room usable; this has it do so now.
func (s *Store) Compact(ctx context.Context) error {
	for _, table := range s.sql.tables {
		if _, err := s.pool.Exec(ctx, "VACUUM "+table); err != nil {
			return failed(ctx, err)
		}
	}
	return nil
}

// visiting refuses what is for a host alone.
func (s *Store) visiting() error {
	if s.owner != "" {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the journal is open for reading alone", Fix: "have a host do it"}
}

// escape writes a text as one that PostgreSQL takes: without NUL, in UTF-8.
func escape(text string) string {
	if !strings.ContainsAny(text, "\\\x00") && strings.ToValidUTF8(text, "") == text {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == 0 || r == '\uFFFD' && !strings.HasPrefix(text[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\%02x`, text[i])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// unescape reads what escape has written.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		var c byte
		switch {
		case text[i] != '\\':
			b.WriteByte(text[i])
		case strings.HasPrefix(text[i:], `\\`):
			b.WriteByte('\\')
			i++
		default:
			if _, err := fmt.Sscanf(text[i+1:min(i+3, len(text))], "%02x", &c); err == nil {
				b.WriteByte(c)
				i += 2
			}
		}
	}
	return b.String()
}

// failed gives an error of the database its code. It may hold no password: what it says of a
// connection is left out.
func failed(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &known), driver.Known(err):
		return err
	}
	what, why, fix := "the journal's PostgreSQL cannot be reached", "no connection", "start it, or correct url"
	code := kernel.CodeUnavailable
	var server *pgconn.PgError
	if errors.As(err, &server) {
		what, why, fix = "the journal's PostgreSQL cannot be used", server.Message+" ("+server.Code+")", "correct url, or grant its role what it lacks"
		switch server.Code {
		case "53100": // disk_full
			fix = "make room on its disk"
		case "40001", "40P01", "55P03", "53300":
			code, fix = kernel.CodeRetry, "try again"
		case "XX001", "XX002": // data_corrupted, index_corrupted
			return errors.Join(driver.ErrDamaged, err)
		}
	}
	return &kernel.Error{Code: code, What: what, Why: kernel.Quote(why), Fix: fix, Err: err}
}
