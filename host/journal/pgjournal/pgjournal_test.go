package pgjournal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/journaltest"
	"github.com/hexdag/hexdag/host/journal/pgjournal"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) {
	journaltest.Worker(func(ctx context.Context, url string) (driver.Store, error) {
		return pgjournal.Open(ctx, pgjournal.Config{URL: url, TTL: 1}, "worker")
	})
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, c pgjournal.Config, host string) *pgjournal.Store {
	t.Helper()
	s, err := pgjournal.Open(t.Context(), c, host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	_, url := testserver.Postgres(t)
	var tables atomic.Int64
	journaltest.Backend{Shared: true, New: func(*testing.T) journaltest.Harness {
		table := fmt.Sprintf("journal_%d", tables.Add(1))
		return func(t *testing.T, host string) driver.Store {
			return open(t, pgjournal.Config{URL: url, Table: table, TTL: 600}, host)
		}
	}}.Run(t)
}

func TestConfig(t *testing.T) {
	for _, c := range []pgjournal.Config{
		{}, {URL: "postgres://u:secret@[::1"}, {URL: "postgres://h/d", Table: "a; DROP TABLE x"}, {URL: "postgres://h/d", TTL: 0.01}, {URL: "postgres://h/d", TTL: -1},
	} {
		if _, err := pgjournal.Open(t.Context(), c, "h"); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%+v: %v", c, err)
		}
	}
	_, err := pgjournal.Open(t.Context(), pgjournal.Config{URL: "postgres://u:secret@127.0.0.1:1/d?connect_timeout=2"}, "h")
	if kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("nobody there: %v", err)
	}
}

func TestKilled(t *testing.T) {
	_, url := testserver.Postgres(t)
	journaltest.Killed(t, url, func(t *testing.T) driver.Store { return open(t, pgjournal.Config{URL: url, TTL: 1}, "test") })
}

// The server is killed and started again while runs write: they go on, and what was said to be durable is there.
func TestServerKilled(t *testing.T) {
	server, url := testserver.Postgres(t)
	s := open(t, pgjournal.Config{URL: url}, "host")
	defer s.Close()
	w := journal.NewWriter(s, journal.WriterOptions{Patience: 2 * time.Minute})
	defer w.Close(context.Background())
	const runs = 4
	var durable [runs]atomic.Uint64
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range runs {
		head := &driver.Run{ID: fmt.Sprint(i), Tenant: "acme"}
		if err := s.Create(t.Context(), head); err != nil {
			t.Fatal(err)
		}
		r := w.Run(head, 1)
		wg.Go(func() {
			for ctx.Err() == nil {
				seq := r.Append(journal.Entry{Kind: journal.Enter})
				if err := r.Sync(t.Context()); err != nil {
					t.Error(err)
					return
				}
				durable[i].Store(seq)
			}
			if err := r.Close(t.Context(), "completed"); err != nil {
				t.Error(err)
			}
		})
	}
	// until waits until each run has written more.
	until := func() {
		t.Helper()
		for i := range runs {
			from := durable[i].Load()
			for deadline := time.Now().Add(time.Minute); durable[i].Load() < from+10; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatalf("run %d stands at %d", i, from)
				}
			}
		}
	}
	for range 3 {
		until()
		server.Kill()
		c := driver.Chunk{Tenant: "acme", Run: "other", Epoch: 1, First: 1, Count: 1, Data: []byte("x")}
		_, err := s.Append(t.Context(), []driver.Chunk{c})
		if kernel.CodeOf(err) != kernel.CodeUnavailable || strings.Contains(err.Error(), "hexdag@") {
			t.Error("with no server:", err)
		}
		server.Restart()
	}
	until()
	stop()
	wg.Wait()
	for i := range runs {
		j, err := journal.Read(t.Context(), s, "acme", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		entries, err := j.All(t.Context())
		if err != nil || j.Torn != nil || uint64(len(entries)) != durable[i].Load() || j.Head.Status != "completed" {
			t.Errorf("%d entries of %d, %v, %+v: %v", len(entries), durable[i].Load(), j.Torn, j.Head, err)
		}
	}
}

// A host that looks does not hold anything, and cannot change what others work on.
func TestVisitor(t *testing.T) {
	_, url := testserver.Postgres(t)
	s := open(t, pgjournal.Config{URL: url}, "host")
	defer s.Close()
	visitor, err := pgjournal.Visit(t.Context(), pgjournal.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer visitor.Close()
	if err := s.Create(t.Context(), &driver.Run{ID: "r", Tenant: "acme"}); err != nil {
		t.Fatal(err)
	}
	_, claimed := visitor.Claim(t.Context(), "acme", "r", true)
	_, appended := visitor.Append(t.Context(), nil)
	for name, err := range map[string]error{"Create": visitor.Create(t.Context(), &driver.Run{ID: "x"}), "Claim": claimed, "Append": appended, "Truncate": visitor.Truncate(t.Context(), "acme", "r", 1, 1)} {
		if kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("%s of a visitor: %v", name, err)
		}
	}
	if err := visitor.Delete(t.Context(), "acme", "r"); !errors.As(err, new(*driver.Taken)) {
		t.Error(err)
	}
	if list, err := visitor.Runs(t.Context(), "acme", driver.Query{}); err != nil || len(list) != 1 || list[0].Free {
		t.Errorf("%+v %v", list, err)
	}
}

// Tables of a newer version, and of something else, are left alone.
func TestOtherTables(t *testing.T) {
	_, url := testserver.Postgres(t)
	open(t, pgjournal.Config{URL: url}, "host").Close()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for comment, code := range map[string]kernel.Code{"hexdag journal, version 3": kernel.CodeJournal, "accounts": kernel.CodeConfig, "": kernel.CodeConfig} {
		if _, err := conn.Exec(t.Context(), "COMMENT ON TABLE hexdag_journal_runs IS '"+comment+"'"); err != nil {
			t.Fatal(err)
		}
		if _, err := pgjournal.Open(t.Context(), pgjournal.Config{URL: url}, "host"); kernel.CodeOf(err) != code {
			t.Errorf("%q: %v", comment, err)
		}
	}
}

// Tables of the first version become those of this, whoever of several hosts is first, while an old one works on.
func TestFirstVersion(t *testing.T) {
	_, url := testserver.Postgres(t)
	old := open(t, pgjournal.Config{URL: url}, "old")
	defer old.Close()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := old.Create(t.Context(), &driver.Run{Tenant: "acme", ID: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Append(t.Context(), []driver.Chunk{{Tenant: "acme", Run: "r", Epoch: 1, First: 1, Count: 1, Data: []byte("one"), Status: driver.Suspended}}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), `ALTER TABLE hexdag_journal_runs DROP COLUMN waits, DROP COLUMN wait_keys, DROP COLUMN wait_until; DROP INDEX hexdag_journal_runs_suspended;
		COMMENT ON TABLE hexdag_journal_runs IS 'hexdag journal, version 1'`); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := pgjournal.Open(t.Context(), pgjournal.Config{URL: url}, fmt.Sprint("new", i))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			list, err := s.Runs(t.Context(), "acme", driver.Query{Status: driver.Suspended})
			if err != nil || len(list) != 1 || list[0].Entries != 1 || list[0].Waits != nil {
				t.Errorf("%+v %v", list, err)
			}
		})
	}
	wg.Wait()
	s := open(t, pgjournal.Config{URL: url}, "new")
	defer s.Close()
	if _, err := s.Wake(t.Context(), "acme", "r", 1); err != nil {
		t.Fatal(err)
	}
	c := driver.Chunk{Tenant: "acme", Run: "r", Epoch: 2, First: 2, Status: driver.Suspended, Waits: &driver.Waits{Keys: []string{"k"}}}
	if errs, err := s.Append(t.Context(), []driver.Chunk{c}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if list, err := s.Runs(t.Context(), "acme", driver.Query{Key: "k"}); err != nil || len(list) != 1 {
		t.Errorf("%+v %v", list, err)
	}
}

// A role that may make tables in its schema is enough, and where they are there, one that may use them.
func TestRoles(t *testing.T) {
	_, url := testserver.Postgres(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	run := func(statements ...string) {
		t.Helper()
		for _, statement := range statements {
			if _, err := conn.Exec(t.Context(), statement); err != nil {
				t.Fatal(statement, err)
			}
		}
	}
	run("CREATE ROLE owner LOGIN", "CREATE ROLE worker LOGIN", "GRANT CREATE, USAGE ON SCHEMA public TO owner", "GRANT USAGE ON SCHEMA public TO worker")
	as := func(role, id string) {
		t.Helper()
		s := open(t, pgjournal.Config{URL: strings.Replace(url, "hexdag@", role+"@", 1)}, role)
		defer s.Close()
		if err := s.Create(t.Context(), &driver.Run{ID: id, Tenant: "acme"}); err != nil {
			t.Error(err)
		}
	}
	as("owner", "a")
	run("GRANT SELECT, INSERT, UPDATE, DELETE ON hexdag_journal_runs, hexdag_journal_chunks, hexdag_journal_blobs, hexdag_journal_hosts TO worker")
	as("worker", "b")
}

// After the database was away for longer than hosts may be silent, none takes what the others go on with.
func TestDatabaseAway(t *testing.T) {
	_, url := testserver.Postgres(t)
	config := pgjournal.Config{URL: url, TTL: 6}
	one, two := open(t, config, "one"), open(t, config, "two")
	defer two.Close()
	head := &driver.Run{ID: "r", Tenant: "acme"}
	if err := one.Create(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), "UPDATE hexdag_journal_hosts SET expires = clock_timestamp() - interval '1 second'"); err != nil {
		t.Fatal(err)
	}
	claim := func() (*driver.Run, error) { return two.Claim(t.Context(), "acme", "r", false) }
	if _, err := claim(); !errors.As(err, new(*driver.Taken)) {
		t.Error("taken by a host that was as silent itself:", err)
	}
	var there, patient bool
	for deadline := time.Now().Add(time.Minute); !there && time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		err := conn.QueryRow(t.Context(), `SELECT bool_and(expires > clock_timestamp()), bool_and(patient > '-infinity') FROM hexdag_journal_hosts`).Scan(&there, &patient)
		if err != nil {
			t.Fatal(err)
		}
	}
	if !there || !patient {
		t.Fatal("the hosts are there: ", there, ", and patient: ", patient)
	}
	if _, err := claim(); !errors.As(err, new(*driver.Taken)) {
		t.Error("taken from a host that is there again:", err)
	}
	c := driver.Chunk{Tenant: "acme", Run: "r", Epoch: 1, First: 1, Count: 1, Data: []byte("x")}
	if errs, err := one.Append(t.Context(), []driver.Chunk{c}); err != nil || errs[0] != nil {
		t.Error("the first host cannot go on:", errs, err)
	}
	// Once it has really gone, the other takes over, at the latest when its patience ends.
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := claim()
		if err == nil && got.Epoch == 2 && got.Entries == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(got, err)
		}
	}
}
