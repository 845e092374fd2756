// Package journaltest is what every backend of the journal has to pass.
package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

// Harness opens the store of a host: with the same journals each time. Whoever asks closes it.
type Harness func(t *testing.T, host string) driver.Store

// Backend is what is tested.
type Backend struct {
	// New returns a harness of journals of its own.
	New func(t *testing.T) Harness
	// Shared says that several hosts have the journals open at a time.
	Shared bool
}

// tenants are names that are easily taken for another, or are no text.
var tenants = []string{"acme", "Acme", "acme ", "", "a/b", "é", "e\u0301", "nul\x00", "no\xfftext", `back\slash`, `\x00`, "'; DROP TABLE runs; --"}

// Run tests a backend.
func (b Backend) Run(t *testing.T) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, open Harness)
	}{
		{"life", life}, {"claims", claims}, {"fencing", fencing}, {"again", again}, {"gaps", gaps}, {"together", together},
		{"truncate", truncate}, {"rewrite", rewrite}, {"remove", remove}, {"blobs", blobs}, {"tenants", tenantsApart},
		{"queries", queries}, {"large", large}, {"many", many}, {"canceled", canceled}, {"concurrent", concurrent}, {"waits", waits}, {"last", last},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b.New(t)) })
	}
	t.Run("random", func(t *testing.T) { random(t, b.New(t), b.Shared) })
	if b.Shared {
		t.Run("hosts", func(t *testing.T) { hosts(t, b.New(t)) })
	}
}

// opened opens a store until the test ends.
func opened(t *testing.T, open Harness) driver.Store {
	t.Helper()
	s := open(t, "one")
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func run(tenant, id string) *driver.Run {
	return &driver.Run{ID: id, Tenant: tenant, Pipeline: "orders", Version: "sha256:1", Begun: time.Unix(1_700_000_000, 0)}
}

func create(t *testing.T, s driver.Store, tenant, id string) *driver.Run {
	t.Helper()
	r := run(tenant, id)
	if err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return r
}

// chunk is the entries first to last of a run, which is its epoch's.
func chunk(r *driver.Run, first, last uint64, data string) driver.Chunk {
	return driver.Chunk{Tenant: r.Tenant, Run: r.ID, Epoch: r.Epoch, First: first, Count: last + 1 - first, Data: []byte(data)}
}

// put appends a chunk that has to be taken.
func put(t *testing.T, s driver.Store, c driver.Chunk) {
	t.Helper()
	if err := add(t.Context(), s, c); err != nil {
		t.Fatal(err)
	}
}

func add(ctx context.Context, s driver.Store, c driver.Chunk) error {
	errs, err := s.Append(ctx, []driver.Chunk{c})
	if err == nil {
		err = errs[0]
	}
	return err
}

// end appends a status alone.
func end(t *testing.T, s driver.Store, r *driver.Run, entries uint64, status driver.Status) {
	t.Helper()
	c := chunk(r, entries+1, entries, "")
	c.Data, c.Status = nil, status
	put(t, s, c)
}

func get(t *testing.T, s driver.Store, r *driver.Run) *driver.Run {
	t.Helper()
	head, err := s.Get(t.Context(), r.Tenant, r.ID)
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// data returns what a run's chunks hold.
func data(t *testing.T, s driver.Store, tenant, id string) []string {
	t.Helper()
	all := []string{}
	next := uint64(1)
	for c, err := range s.Chunks(t.Context(), tenant, id) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Tenant != tenant || c.Run != id || c.First != next || c.Epoch == 0 {
			t.Errorf("chunk %+v in place of entry %d", c, next)
		}
		next = c.First + c.Count
		all = append(all, string(c.Data))
	}
	return all
}

func holds(t *testing.T, s driver.Store, r *driver.Run, want ...string) {
	t.Helper()
	if got := data(t, s, r.Tenant, r.ID); !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("the journal holds %q, not %q", got, want)
	}
}

func life(t *testing.T, open Harness) {
	s := open(t, "one")
	r := run("acme", "r")
	r.Parent, r.Status, r.Owner, r.Epoch, r.Entries = "above", "nonsense", "nobody", 7, 9
	before := time.Now()
	if err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if r.Epoch != 1 || r.Status != driver.Running || r.Owner == "nobody" || r.Owner == "" || r.Entries != 0 || r.Free {
		t.Errorf("created: %+v", r)
	}
	if err := s.Create(t.Context(), run("acme", "r")); !errors.Is(err, driver.ErrExists) {
		t.Error("created twice:", err)
	}
	holds(t, s, r)
	put(t, s, chunk(r, 1, 3, "one to three"))
	put(t, s, chunk(r, 4, 4, "four"))
	last := chunk(r, 5, 6, "five and six")
	last.Status = "completed"
	put(t, s, last)
	check := func(s driver.Store) {
		t.Helper()
		head := get(t, s, r)
		// The database's clock is not the test's.
		if off := head.Touched.Sub(before); off < -time.Minute || off > time.Hour {
			t.Errorf("touched %v after it was", off)
		}
		want := *r
		want.Status, want.Entries, want.Bytes, want.Touched = "completed", 6, 28, head.Touched
		if !head.Begun.Equal(want.Begun) {
			t.Errorf("begun %v", head.Begun)
		}
		want.Begun = head.Begun
		if *head != want {
			t.Errorf("%+v is not %+v", *head, want)
		}
		holds(t, s, r, "one to three", "four", "five and six")
	}
	check(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check(opened(t, open))
}

func claims(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	if _, err := s.Claim(t.Context(), "acme", "another", false); !errors.Is(err, driver.ErrNotFound) {
		t.Error("a run that is not there:", err)
	}
	// Who has it may claim it anew, which is another epoch.
	claim := func(epoch uint64) *driver.Run {
		t.Helper()
		head, err := s.Claim(t.Context(), "acme", "r", false)
		if err != nil {
			t.Fatal(err)
		}
		if head.Epoch != epoch || head.Status != driver.Running || head.Free || head.Owner != r.Owner {
			t.Errorf("claimed: %+v", head)
		}
		return head
	}
	r = claim(2)
	put(t, s, chunk(r, 1, 1, "one"))
	end(t, s, r, 1, driver.Suspended)
	if head := get(t, s, r); head.Status != driver.Suspended || head.Free || head.Entries != 1 {
		t.Errorf("suspended: %+v", head)
	}
	if err := add(t.Context(), s, chunk(r, 2, 2, "two")); !errors.Is(err, driver.ErrFenced) {
		t.Error("appended to a suspended run:", err)
	}
	r = claim(3)
	put(t, s, chunk(r, 2, 2, "two"))
	end(t, s, r, 2, "failed")
	_, err := s.Claim(t.Context(), "acme", "r", true)
	var over *driver.Over
	if !errors.As(err, &over) || over.Status != "failed" {
		t.Error("a run that has ended:", err)
	}
	holds(t, s, r, "one", "two")
}

// A host that lost its run to another cannot write it, and does not disturb what it has otherwise.
func fencing(t *testing.T, open Harness) {
	s := opened(t, open)
	old, other := create(t, s, "acme", "r"), create(t, s, "acme", "other")
	put(t, s, chunk(old, 1, 1, "one"))
	now, err := s.Claim(t.Context(), "acme", "r", false)
	if err != nil {
		t.Fatal(err)
	}
	late := chunk(old, 2, 2, "late")
	late.Status = "completed"
	errs, err := s.Append(t.Context(), []driver.Chunk{late, chunk(other, 1, 1, "kept"), chunk(now, 2, 2, "two")})
	if err != nil || !errors.Is(errs[0], driver.ErrFenced) || errs[1] != nil || errs[2] != nil {
		t.Error(errs, err)
	}
	// Not even what it has written before is taken as its own.
	if err := add(t.Context(), s, chunk(old, 1, 1, "one")); !errors.Is(err, driver.ErrFenced) {
		t.Error(err)
	}
	if err := s.Truncate(t.Context(), "acme", "r", old.Epoch, 1); !errors.Is(err, driver.ErrFenced) {
		t.Error("truncated by who lost it:", err)
	}
	holds(t, s, now, "one", "two")
	holds(t, s, other, "kept")
	if head := get(t, s, now); head.Status != driver.Running || head.Entries != 2 {
		t.Errorf("%+v", head)
	}
	if errs, err := s.Append(t.Context(), []driver.Chunk{chunk(run("acme", "none"), 1, 1, "x")}); err != nil || !errors.Is(errs[0], driver.ErrNotFound) {
		t.Error("a run that is not there:", errs, err)
	}
}

// What is there already is written once.
func again(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	one, two := chunk(r, 1, 2, "one"), chunk(r, 3, 3, "two")
	last := chunk(r, 4, 4, "three")
	last.Status = "completed"
	alone := driver.Chunk{Tenant: "acme", Run: "r", Epoch: 1, First: 5, Status: "completed"}
	for range 2 {
		put(t, s, one)
	}
	for range 2 {
		if errs, err := s.Append(t.Context(), []driver.Chunk{one, two, last}); err != nil || errors.Join(errs...) != nil {
			t.Error(errs, err)
		}
	}
	put(t, s, alone)
	different := last
	different.Data = []byte("other")
	failed := last
	failed.Status = "failed"
	for _, c := range []driver.Chunk{different, failed} {
		if err := add(t.Context(), s, c); !errors.Is(err, driver.ErrFenced) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	holds(t, s, r, "one", "two", "three")
	if head := get(t, s, r); head.Entries != 4 || head.Bytes != 11 || head.Status != "completed" {
		t.Errorf("%+v", head)
	}
}

func gaps(t *testing.T, open Harness) {
	s := opened(t, open)
	r, other := create(t, s, "acme", "r"), create(t, s, "acme", "other")
	put(t, s, chunk(r, 1, 2, "one"))
	for name, c := range map[string]driver.Chunk{"a gap": chunk(r, 4, 4, "x"), "an overlap": chunk(r, 2, 3, "x"), "another in its place": chunk(r, 1, 2, "x")} {
		errs, err := s.Append(t.Context(), []driver.Chunk{c, chunk(other, 1, 1, "kept")})
		if err != nil || !errors.Is(errs[0], driver.ErrGap) || errs[1] != nil {
			t.Errorf("%s: %v %v", name, errs, err)
		}
	}
	holds(t, s, r, "one")
	holds(t, s, other, "kept")
}

// together appends to several runs at once, more than once to each.
func together(t *testing.T, open Harness) {
	s := opened(t, open)
	var chunks []driver.Chunk
	var runs []*driver.Run
	for i := range 20 {
		r := create(t, s, "acme", fmt.Sprint(i))
		runs = append(runs, r)
		for n := range uint64(3) {
			chunks = append(chunks, chunk(r, n+1, n+1, fmt.Sprint(i, "-", n)))
		}
		chunks[len(chunks)-1].Status = "completed"
	}
	if errs, err := s.Append(t.Context(), chunks); err != nil || errors.Join(errs...) != nil || len(errs) != len(chunks) {
		t.Fatal(errs, err)
	}
	for i, r := range runs {
		holds(t, s, r, fmt.Sprint(i, "-", 0), fmt.Sprint(i, "-", 1), fmt.Sprint(i, "-", 2))
		if head := get(t, s, r); head.Status != "completed" || head.Entries != 3 {
			t.Errorf("%+v", head)
		}
	}
	if errs, err := s.Append(t.Context(), nil); err != nil || len(errs) != 0 {
		t.Error("nothing:", errs, err)
	}
}

// many appends a hundred thousand entries, as a writer that is busy would.
func many(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	const each, batch, all = 10, 500, 100_000
	var chunks []driver.Chunk
	for first := uint64(1); first <= all; first += each {
		chunks = append(chunks, chunk(r, first, first+each-1, fmt.Sprint(first)))
		if len(chunks) == batch {
			if errs, err := s.Append(t.Context(), chunks); err != nil || errors.Join(errs...) != nil {
				t.Fatal(errs, err)
			}
			chunks = chunks[:0]
		}
	}
	if got := data(t, s, "acme", "r"); len(got) != all/each || got[len(got)-1] != fmt.Sprint(all-each+1) {
		t.Errorf("%d chunks", len(got))
	}
	if head := get(t, s, r); head.Entries != all {
		t.Errorf("%+v", head)
	}
	for _, err := range s.Chunks(t.Context(), "acme", "r") {
		if err != nil {
			t.Error(err)
		}
		break // whoever has seen enough leaves
	}
}

func canceled(t *testing.T, open Harness) {
	s := opened(t, open)
	r := create(t, s, "acme", "r")
	put(t, s, chunk(r, 1, 1, "one"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := s.Get(ctx, "acme", "r")
	_, claimErr := s.Claim(ctx, "acme", "r", false)
	_, wakeErr := s.Wake(ctx, "acme", "r", 1)
	_, lastErr := s.Last(ctx, "acme", "r")
	_, runsErr := s.Runs(ctx, "acme", driver.Query{})
	_, blobErr := s.Blob(ctx, "acme", "sha256:1")
	_, sweepErr := s.Sweep(ctx, "acme", time.Now(), nil)
	var chunksErr error
	for _, chunksErr = range s.Chunks(ctx, "acme", "r") {
	}
	for name, err := range map[string]error{
		"Create": s.Create(ctx, run("acme", "other")), "Append": add(ctx, s, chunk(r, 2, 2, "two")), "Truncate": s.Truncate(ctx, "acme", "r", 1, 1),
		"Delete": s.Delete(ctx, "acme", "r"), "PutBlob": s.PutBlob(ctx, "acme", "sha256:1", nil), "Compact": s.Compact(ctx),
		"Get": getErr, "Claim": claimErr, "Runs": runsErr, "Blob": blobErr, "Sweep": sweepErr, "Chunks": chunksErr, "Wake": wakeErr, "Last": lastErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
	put(t, s, chunk(r, 2, 2, "two"))
	holds(t, s, r, "one", "two")
}

// concurrent has runs begin, go on and end at once, while others look.
func concurrent(t *testing.T, open Harness) {
	s := opened(t, open)
	const runs, each = 8, 20
	var wg sync.WaitGroup
	for i := range runs {
		wg.Go(func() {
			r := run("acme", fmt.Sprint(i))
			if err := s.Create(t.Context(), r); err != nil {
				t.Error(err)
				return
			}
			for n := range uint64(each) {
				c := chunk(r, n+1, n+1, fmt.Sprint(n))
				if n == each-1 {
					c.Status = "completed"
				}
				if err := add(t.Context(), s, c); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for n := range each {
				if _, err := s.Runs(t.Context(), "acme", driver.Query{}); err != nil {
					t.Error(err)
				}
				if err := s.PutBlob(t.Context(), "acme", fmt.Sprint("sha256:", n), []byte{byte(n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := s.Runs(t.Context(), "acme", driver.Query{Status: "completed"})
	if err != nil || len(list) != runs {
		t.Errorf("%d runs: %v", len(list), err)
	}
	for _, r := range list {
		if got := data(t, s, "acme", r.ID); len(got) != each {
			t.Errorf("%d chunks", len(got))
		}
	}
	// Who claims at once: one after another, each with an epoch of its own.
	create(t, s, "acme", "wanted")
	var mu sync.Mutex
	epochs := map[uint64]int{}
	for range runs {
		wg.Go(func() {
			head, err := s.Claim(t.Context(), "acme", "wanted", false)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			epochs[head.Epoch]++
		})
	}
	wg.Wait()
	if len(epochs) != runs {
		t.Errorf("epochs %v", epochs)
	}
}
