package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// failing is a store whose Append does what before says, first.
type failing struct {
	driver.Store
	before  func(ctx context.Context, chunks []driver.Chunk) error
	appends atomic.Int64
}

func (f *failing) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	f.appends.Add(1)
	if f.before != nil {
		if err := f.before(ctx, chunks); err != nil {
			return nil, err
		}
	}
	return f.Store.Append(ctx, chunks)
}

func create(t testing.TB, store driver.Store, id string) *driver.Run {
	t.Helper()
	head := &driver.Run{ID: id, Tenant: "acme", Pipeline: "p", Begun: time.Now()}
	if err := store.Create(t.Context(), head); err != nil {
		t.Fatal(err)
	}
	return head
}

func entries(t testing.TB, store driver.Store, id string) uint64 {
	t.Helper()
	head, err := store.Get(context.Background(), "acme", id)
	if err != nil {
		t.Fatal(err)
	}
	return head.Entries
}

func closeWriter(t testing.TB, w *journal.Writer) {
	t.Helper()
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memjournal.New()
		w := journal.NewWriter(store, journal.WriterOptions{})
		defer closeWriter(t, w)
		r := w.Run(create(t, store, "a"), 1)
		for i := range 10 {
			if seq := r.Append(journal.Entry{Kind: journal.Enter, Lane: fmt.Sprint(i)}); seq != uint64(i+1) {
				t.Errorf("entry %d has number %d", i+1, seq)
			}
		}
		if err := r.Sync(t.Context()); err != nil || entries(t, store, "a") != 10 {
			t.Errorf("after a Sync there are %d entries: %v", entries(t, store, "a"), err)
		}
		// What nobody waits for is written soon.
		r.Append(journal.Entry{Kind: journal.Done})
		synctest.Wait()
		if n := entries(t, store, "a"); n != 10 {
			t.Errorf("%d entries at once", n)
		}
		time.Sleep(51 * time.Millisecond)
		synctest.Wait()
		if n := entries(t, store, "a"); n != 11 {
			t.Errorf("%d entries in the end", n)
		}
		r.Append(journal.Entry{Kind: journal.End, Status: "completed"})
		if err := r.Close(t.Context(), "completed"); err != nil {
			t.Error(err)
		}
		if head, err := store.Get(t.Context(), "acme", "a"); err != nil || head.Status != "completed" || head.Entries != 12 {
			t.Errorf("%+v %v", head, err)
		}
		if seq := r.Append(journal.Entry{Kind: journal.Enter}); seq != 0 {
			t.Error("appended to what was closed")
		}
		if err := r.Close(t.Context(), "completed"); err != nil {
			t.Error("the second Close:", err)
		}
	})
}

// A run that is closed with nothing pending changes its status.
func TestWriterStatusAlone(t *testing.T) {
	store := memjournal.New()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(create(t, store, "a"), 1)
	r.Append(journal.Entry{Kind: journal.Begin})
	if err := errors.Join(r.Sync(t.Context()), r.Close(t.Context(), driver.Suspended)); err != nil {
		t.Fatal(err)
	}
	if head, err := store.Get(t.Context(), "acme", "a"); err != nil || head.Status != driver.Suspended || head.Entries != 1 {
		t.Errorf("%+v %v", head, err)
	}
}

// A writer that is closed without an end leaves the run to this host, which may go on with another.
func TestWriterWithoutEnd(t *testing.T) {
	store := memjournal.New()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	head := create(t, store, "a")
	for n := range uint64(3) {
		r := w.Run(head, n+1)
		r.Append(journal.Entry{Kind: journal.Enter})
		if err := r.Close(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	if head, err := store.Get(t.Context(), "acme", "a"); err != nil || head.Status != driver.Running || head.Entries != 3 || head.Epoch != 1 || head.Free {
		t.Errorf("%+v %v", head, err)
	}
}

// Whoever waits while something is written is written together with all the others that do.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const runs = 64
		release := make(chan struct{})
		store := &failing{Store: memjournal.New()}
		store.before = func(context.Context, []driver.Chunk) error { <-release; return nil }
		w := journal.NewWriter(store, journal.WriterOptions{})
		defer closeWriter(t, w)
		var wg sync.WaitGroup
		for i := range runs {
			r := w.Run(create(t, store, fmt.Sprint(i)), 1)
			wg.Go(func() {
				r.Append(journal.Entry{Kind: journal.Enter})
				if err := r.Sync(context.Background()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(release)
		wg.Wait()
		if n := store.appends.Load(); n != 2 {
			t.Errorf("%d appends for %d runs that waited for one", n, runs)
		}
	})
}

// A store that fails for a while loses nothing; one that fails for longer ends the runs, closed.
func TestStoreFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var until time.Time
		store := &failing{Store: memjournal.New()}
		store.before = func(context.Context, []driver.Chunk) error {
			if time.Now().Before(until) {
				return &kernel.Error{Code: kernel.CodeUnavailable, What: "the disk is full", Fix: "make room on the disk"}
			}
			return nil
		}
		w := journal.NewWriter(store, journal.WriterOptions{})
		defer closeWriter(t, w)
		r := w.Run(create(t, store, "a"), 1)
		until = time.Now().Add(10 * time.Second)
		r.Append(journal.Entry{Kind: journal.Enter})
		if err := r.Sync(t.Context()); err != nil || entries(t, store, "a") != 1 {
			t.Errorf("after ten seconds: %v", err)
		}
		until = time.Now().Add(time.Hour)
		r.Append(journal.Entry{Kind: journal.Done})
		err := r.Sync(t.Context())
		if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "run a: the run's journal cannot be written: the disk is full") || !strings.Contains(err.Error(), "make room") {
			t.Error(err)
		}
		<-r.Lost()
		if r.Append(journal.Entry{Kind: journal.Enter}) != 0 || r.Sync(t.Context()) == nil || r.Close(t.Context(), "failed") == nil || r.Err() == nil {
			t.Error("a run that is lost goes on")
		}
		if n := entries(t, store, "a"); n != 1 {
			t.Errorf("%d entries", n)
		}
		until = time.Time{}
		other := w.Run(create(t, store, "b"), 1)
		other.Append(journal.Entry{Kind: journal.Enter})
		if err := other.Sync(t.Context()); err != nil {
			t.Error("a run that came later:", err)
		}
	})
}

// An append that was done, and of which nobody heard, is done once.
func TestAppendUnheard(t *testing.T) {
	store := &failing{Store: memjournal.New()}
	heard := false
	store.before = func(ctx context.Context, chunks []driver.Chunk) error {
		if heard {
			return nil
		}
		heard = true
		if _, err := store.Store.Append(ctx, chunks); err != nil {
			t.Error(err)
		}
		return errors.New("the connection was cut")
	}
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r := w.Run(create(t, store, "a"), 1)
	r.Append(journal.Entry{Kind: journal.Enter})
	if err := r.Close(t.Context(), "completed"); err != nil || entries(t, store, "a") != 1 {
		t.Error(err)
	}
}

func TestFenced(t *testing.T) {
	server := memjournal.NewServer()
	one, two := server.Open("one"), server.Open("two")
	w := journal.NewWriter(one, journal.WriterOptions{})
	defer closeWriter(t, w)
	r, kept := w.Run(create(t, one, "a"), 1), w.Run(create(t, one, "b"), 1)
	if _, err := two.Claim(t.Context(), "acme", "a", true); err != nil {
		t.Fatal(err)
	}
	r.Append(journal.Entry{Kind: journal.Enter})
	kept.Append(journal.Entry{Kind: journal.Enter})
	if err := kept.Sync(t.Context()); err != nil {
		t.Error("one that was not taken:", err)
	}
	err := r.Close(t.Context(), "completed")
	if kernel.CodeOf(err) != kernel.CodeFenced || !errors.Is(err, driver.ErrFenced) || !strings.Contains(err.Error(), "run a: the run was taken over by another host") {
		t.Error(err)
	}
	<-r.Lost()
	if head, err := two.Get(t.Context(), "acme", "a"); err != nil || head.Entries != 0 || head.Status != driver.Running || !strings.HasPrefix(head.Owner, "two") {
		t.Errorf("%+v %v", head, err)
	}
}

// Append waits while too much is pending, and goes on as soon as that is taken.
func TestBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		store := &failing{Store: memjournal.New()}
		store.before = func(context.Context, []driver.Chunk) error { <-release; return nil }
		w := journal.NewWriter(store, journal.WriterOptions{MaxEntries: 8, MaxBytes: 10_000})
		defer closeWriter(t, w)
		many, large := w.Run(create(t, store, "many"), 1), w.Run(create(t, store, "large"), 1)
		var appended [2]atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 100 {
				many.Append(journal.Entry{Kind: journal.Enter})
				appended[0].Add(1)
			}
		})
		wg.Go(func() {
			for range 20 {
				large.Append(journal.Entry{Kind: journal.Draw, Body: make([]byte, 6000)})
				appended[1].Add(1)
			}
		})
		synctest.Wait()
		// One share is being written, and one waits.
		if a, b := appended[0].Load(), appended[1].Load(); a > 16 || b > 2 || a < 8 || b < 1 {
			t.Errorf("%d and %d entries wait", a, b)
		}
		close(release)
		wg.Wait()
		if err := errors.Join(many.Sync(t.Context()), large.Sync(t.Context())); err != nil {
			t.Error(err)
		}
		if a, b := entries(t, store, "many"), entries(t, store, "large"); a != 100 || b != 20 {
			t.Errorf("%d and %d entries", a, b)
		}
	})
}

func TestWriterCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		store := &failing{Store: memjournal.New()}
		store.before = func(ctx context.Context, _ []driver.Chunk) error {
			select {
			case <-release:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		w := journal.NewWriter(store, journal.WriterOptions{MaxEntries: 4})
		r := w.Run(create(t, store, "a"), 1)
		r.Append(journal.Entry{Kind: journal.Enter})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Sync(ctx); kernel.CodeOf(err) != kernel.CodeTimeout {
			t.Error("a Sync that has no more time:", err)
		}
		release <- struct{}{}
		if err := r.Sync(t.Context()); err != nil {
			t.Error(err)
		}
		// The writer is closed while the store hangs: what waits is told.
		var wg sync.WaitGroup
		wg.Go(func() {
			for range 20 {
				r.Append(journal.Entry{Kind: journal.Done})
			}
			if err := r.Sync(context.Background()); kernel.CodeOf(err) != kernel.CodeUnavailable {
				t.Error("what was not written:", err)
			}
		})
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.Close(ctx); kernel.CodeOf(err) != kernel.CodeTimeout {
			t.Error("Close:", err)
		}
		wg.Wait()
		late := w.Run(create(t, store, "b"), 1)
		late.Append(journal.Entry{Kind: journal.Enter})
		if err := late.Sync(t.Context()); err == nil || late.Close(t.Context(), "completed") == nil {
			t.Error("a writer that is closed writes")
		}
	})
}

// What cannot be written as JSON ends its run alone.
func TestUnencodable(t *testing.T) {
	var deep any
	for range kernel.MaxDepth + 2 {
		deep = []any{deep}
	}
	store := memjournal.New()
	w := journal.NewWriter(store, journal.WriterOptions{})
	defer closeWriter(t, w)
	r, other := w.Run(create(t, store, "a"), 1), w.Run(create(t, store, "b"), 1)
	r.Append(journal.Entry{Kind: journal.Enter})
	r.Append(journal.Entry{Kind: journal.Reply, Lane: "n", Value: deep})
	other.Append(journal.Entry{Kind: journal.Enter})
	if err := r.Sync(t.Context()); kernel.CodeOf(err) != kernel.CodeInternal || !strings.Contains(err.Error(), "node n") {
		t.Error(err)
	}
	if err := other.Close(t.Context(), "completed"); err != nil {
		t.Error(err)
	}
}

// Many runs append, wait and end at once; each journal holds its own, in order.
func TestManyRuns(t *testing.T) {
	const runs, each = 32, 200
	store := memjournal.New()
	w := journal.NewWriter(store, journal.WriterOptions{MaxEntries: 16, FlushEvery: time.Millisecond})
	defer closeWriter(t, w)
	var wg sync.WaitGroup
	for i := range runs {
		r := w.Run(create(t, store, fmt.Sprint(i)), 1)
		wg.Go(func() {
			var lanes sync.WaitGroup
			for lane := range 4 {
				lanes.Go(func() {
					for n := range each / 4 {
						r.Append(journal.Entry{Kind: journal.Enter, Lane: fmt.Sprintf("%d/%d", lane, n)})
						if n%10 == 0 {
							if err := r.Sync(t.Context()); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			lanes.Wait()
			if err := r.Close(t.Context(), "completed"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range runs {
		j, err := journal.Read(t.Context(), store, "acme", fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]int{}
		n := 0
		for e, err := range j.Entries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			lane, number, _ := strings.Cut(e.Lane, "/")
			if number != fmt.Sprint(last[lane]) {
				t.Fatalf("entry %d of lane %s is its %s, not its %d", e.Seq, lane, number, last[lane])
			}
			last[lane]++
			n++
		}
		if n != each || j.Torn != nil || j.Head.Status != "completed" {
			t.Errorf("%d entries, torn %v, head %+v", n, j.Torn, j.Head)
		}
	}
}

// What a run waits for when it appends, without what is written meanwhile.
func BenchmarkAppend(b *testing.B) {
	store := memjournal.New()
	w := journal.NewWriter(discard{store}, journal.WriterOptions{FlushEvery: time.Hour})
	defer closeWriter(b, w)
	r := w.Run(create(b, store, "a"), 1)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		r.Append(journal.Entry{Kind: journal.Call, Lane: "fetch", Op: "llm.complete", Key: "k"})
		if n++; n%128 == 0 {
			b.StopTimer()
			if err := r.Sync(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}

type discard struct{ driver.Store }

func (discard) Append(_ context.Context, chunks []driver.Chunk) ([]error, error) {
	return make([]error, len(chunks)), nil
}

// TestSecured: what a call that is repeated would be made of otherwise is on the disk before it is done.
func TestSecured(t *testing.T) {
	answer := func() (kernel.Value, error) { return 1, nil }
	for name, c := range map[string]struct {
		before func(*journal.Lane) error
		r      journal.Request
		want   int // entries that are durable when the call is done
	}{
		"nothing was left to chance": {nil, journal.Request{Op: "bus.publish", Changes: true, Repeatable: true}, 0},
		"a reading of the clock":     {func(l *journal.Lane) error { l.Clock()(); return nil }, journal.Request{Op: "bus.publish", Changes: true, Repeatable: true}, 1},
		"Go code":                    {func(l *journal.Lane) error { _, err := l.Local(t.Context(), "fn f", answer); return err }, journal.Request{Op: "bus.publish", Changes: true, Repeatable: true}, 2},
		"what a port answered": {func(l *journal.Lane) error {
			_, err := l.Call(t.Context(), &journal.Request{Op: "memory.get"}, replied)
			return err
		}, journal.Request{Op: "bus.publish", Changes: true, Repeatable: true}, 2},
		"it changes nothing":               {func(l *journal.Lane) error { l.Clock()(); return nil }, journal.Request{Op: "memory.get"}, 0},
		"it changes the run itself":        {func(l *journal.Lane) error { l.Clock()(); return nil }, journal.Request{Op: "pipeline_memory.set", Changes: true, Own: true}, 0},
		"it cannot be repeated: all of it": {nil, journal.Request{Op: "ledger.add", Changes: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			store := memjournal.New()
			head := &driver.Run{ID: "r", Tenant: "acme", Begun: time.Now()}
			if err := store.Create(t.Context(), head); err != nil {
				t.Fatal(err)
			}
			w := journal.NewWriter(store, journal.WriterOptions{FlushEvery: time.Hour})
			r := w.Run(head, 1)
			lane := journal.Record(&kernel.RunContext{RunID: "r"}, r).Lane("a")
			if c.before != nil {
				if err := c.before(lane); err != nil {
					t.Fatal(err)
				}
			}
			durable := -1
			if _, err := lane.Call(t.Context(), &c.r, func(ctx context.Context) (*kernel.PortReply, error) {
				now, err := store.Get(ctx, "acme", "r")
				if err != nil {
					return nil, err
				}
				durable = int(now.Entries)
				return replied(ctx)
			}); err != nil {
				t.Fatal(err)
			}
			if durable < c.want || c.want == 0 && durable > 0 {
				t.Errorf("%d entries were durable, not %d", durable, c.want)
			}
			if err := errors.Join(r.Close(t.Context(), "completed"), w.Close(t.Context()), store.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

func replied(context.Context) (*kernel.PortReply, error) { return &kernel.PortReply{Value: "v"}, nil }
