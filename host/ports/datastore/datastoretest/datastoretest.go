// Package datastoretest is the suite that every backend of the data store passes.
package datastoretest

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Harness makes an empty store. The suite closes it.
type Harness func(t *testing.T) driver.Store

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Documents", h.testDocuments)
	t.Run("Conditions", h.testConditions)
	t.Run("Tenants", h.testTenants)
	t.Run("Query", h.testQuery)
	t.Run("Pages", h.testPages)
	t.Run("Reindexed", h.testReindexed)
	t.Run("Batch", h.testBatch)
	t.Run("Arguments", h.testArguments)
	t.Run("OneWins", h.testOneWins)
	t.Run("Counter", h.testCounter)
	t.Run("Crossed", h.testCrossed)
	t.Run("Clock", h.testClock)
	t.Run("Ended", h.testEnded)
	t.Run("Closed", h.testClosed)
}

func (h Harness) open(t *testing.T) *datastore.Store {
	t.Helper()
	s := datastore.New(h(t))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func doc(key, value string, order int64, terms ...string) driver.Document {
	return driver.Document{Key: key, Value: []byte(value), Order: order, Terms: terms}
}

func put(t *testing.T, s *datastore.Store, d driver.Document, condition int64, want bool) {
	t.Helper()
	if done, err := s.Put(t.Context(), "acme", "c", d, condition); err != nil || done != want {
		t.Fatalf("%s: %v, %v, want %v", d.Key, done, err, want)
	}
}

func find(t *testing.T, s *datastore.Store, q driver.Query) []string {
	t.Helper()
	found, err := s.Query(t.Context(), "acme", "c", q)
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{}
	for _, d := range found {
		keys = append(keys, d.Key)
	}
	return keys
}

func wantKeys(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func (h Harness) testDocuments(t *testing.T) {
	s := h.open(t)
	if d, err := s.Load(t.Context(), "acme", "c", "k"); d != nil || err != nil {
		t.Errorf("%+v, %v", d, err)
	}
	odd := "k\x00' \" % _ é"
	for _, d := range []driver.Document{
		doc("k", `{"a":1}`, 7, "x", "y"), doc(odd, "[]", math.MinInt64, odd), doc("empty", "", math.MaxInt64), doc("large", strings.Repeat("v", datastore.MaxValue), 0),
	} {
		put(t, s, d, driver.Any, true)
		d.Revision = 1
		got, err := s.Load(t.Context(), "acme", "c", d.Key)
		if err != nil || got == nil {
			t.Fatalf("%s: %v, %v", d.Key, got, err)
		}
		if !bytes.Equal(got.Value, d.Value) || !slices.Equal(got.Terms, d.Terms) || got.Order != d.Order || got.Revision != 1 || got.Key != d.Key {
			t.Errorf("%q is not what was saved: %d bytes, %+v", d.Key, len(got.Value), got.Terms)
		}
	}
	if n, err := s.Count(t.Context(), "acme", "c"); n != 4 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := s.Count(t.Context(), "acme", "c", odd); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	wantKeys(t, find(t, s, driver.All(10)), odd, "large", "k", "empty")
}

func (h Harness) testConditions(t *testing.T) {
	s := h.open(t)
	put(t, s, doc("k", "1", 0), 1, false) // there is none to change
	put(t, s, doc("k", "1", 0), driver.Absent, true)
	put(t, s, doc("k", "2", 0), driver.Absent, false)
	put(t, s, doc("k", "2", 0), 1, true)
	put(t, s, doc("k", "3", 0), 1, false)
	put(t, s, doc("k", "3", 0), driver.Any, true)
	d, err := s.Load(t.Context(), "acme", "c", "k")
	if err != nil || string(d.Value) != "3" || d.Revision != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	remove := func(condition int64, want bool) {
		t.Helper()
		done, err := s.Save(t.Context(), "acme", "c", driver.Write{Document: doc("k", "", 0), If: condition, Delete: true})
		if err != nil || done[0] != want {
			t.Errorf("deleted: %v, %v, want %v", done, err, want)
		}
	}
	remove(2, false)
	remove(3, true)
	remove(driver.Any, false)
	put(t, s, doc("k", "1", 0), driver.Absent, true)
}

func (h Harness) testTenants(t *testing.T) {
	s := h.open(t)
	put(t, s, doc("k", "1", 0, "x"), driver.Absent, true)
	for _, other := range [][2]string{{"acme", "d"}, {"bob", "c"}, {"", "c"}, {"acmec", ""}} {
		d, err := s.Load(t.Context(), other[0], other[1], "k")
		found, qerr := s.Query(t.Context(), other[0], other[1], driver.All(10))
		n, cerr := s.Count(t.Context(), other[0], other[1], "x")
		if d != nil || len(found) > 0 || n != 0 || err != nil || qerr != nil || cerr != nil {
			t.Errorf("%q sees %v, %v, %d: %v, %v, %v", other, d, found, n, err, qerr, cerr)
		}
		if done, err := s.Save(t.Context(), other[0], other[1], driver.Write{Document: doc("k", "", 0), If: driver.Any, Delete: true}); err != nil || done[0] {
			t.Errorf("%q deletes another's: %v, %v", other, done, err)
		}
	}
}

func (h Harness) testQuery(t *testing.T) {
	s := h.open(t)
	for i, terms := range [][]string{{"a"}, {"a", "b"}, {"b"}, {"a", "b", "c"}, nil} {
		put(t, s, doc(fmt.Sprint(i), "{}", int64(10*i), terms...), driver.Any, true)
	}
	put(t, s, doc("30", "{}", 30, "a"), driver.Any, true) // of the same place as 3
	all := driver.All(10)
	wantKeys(t, find(t, s, all), "0", "1", "2", "3", "30", "4")
	all.Descending = true
	wantKeys(t, find(t, s, all), "4", "30", "3", "2", "1", "0")
	all.Terms = []string{"a"}
	wantKeys(t, find(t, s, all), "30", "3", "1", "0")
	all.Terms = []string{"a", "b"}
	wantKeys(t, find(t, s, all), "3", "1")
	all.Terms = []string{"a", "none"}
	wantKeys(t, find(t, s, all))
	wantKeys(t, find(t, s, driver.Query{Min: 10, Max: 30, Limit: 10}), "1", "2", "3", "30")
	wantKeys(t, find(t, s, driver.Query{Min: 10, Max: 30, Limit: 2, Terms: []string{"a"}}), "1", "3")
	if n, err := s.Count(t.Context(), "acme", "c", "a", "b"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func (h Harness) testPages(t *testing.T) {
	s := h.open(t)
	var want []string
	for i := range 20 {
		key := fmt.Sprintf("%02d", i)
		put(t, s, doc(key, "{}", int64(i/3), "a"), driver.Any, true)
		want = append(want, key)
	}
	for _, descending := range []bool{false, true} {
		for _, terms := range [][]string{nil, {"a"}} {
			q := driver.All(4)
			q.Descending, q.Terms = descending, terms
			var got []string
			for {
				page, err := s.Query(t.Context(), "acme", "c", q)
				if err != nil {
					t.Fatal(err)
				}
				if len(page) == 0 {
					break
				}
				for _, d := range page {
					got = append(got, d.Key)
				}
				last := page[len(page)-1]
				q.After = &driver.Place{Order: last.Order, Key: last.Key}
			}
			if descending {
				slices.Reverse(got)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("descending %v, terms %v: %s", descending, terms, diff)
			}
		}
	}
}

// testReindexed: a document is found by what it has now alone.
func (h Harness) testReindexed(t *testing.T) {
	s := h.open(t)
	by := func(term string) []string {
		t.Helper()
		q := driver.All(10)
		q.Terms = []string{term}
		return find(t, s, q)
	}
	put(t, s, doc("k", "1", 1, "running", "ref"), driver.Any, true)
	put(t, s, doc("k", "2", 1, "done", "ref"), driver.Any, true)
	wantKeys(t, by("running"))
	wantKeys(t, by("done"), "k")
	put(t, s, doc("k", "3", 5, "done", "ref"), driver.Any, true)
	put(t, s, doc("j", "1", 3, "done"), driver.Any, true)
	wantKeys(t, by("done"), "j", "k")
	wantKeys(t, by("ref"), "k")
	wantKeys(t, find(t, s, driver.Query{Min: 0, Max: 2, Limit: 5}))
	if _, err := s.Save(t.Context(), "acme", "c", driver.Write{Document: doc("k", "", 0), If: driver.Any, Delete: true}); err != nil {
		t.Fatal(err)
	}
	wantKeys(t, by("done"), "j")
	put(t, s, doc("k", "1", 9), driver.Absent, true)
	wantKeys(t, by("done"), "j")
	wantKeys(t, find(t, s, driver.All(5)), "j", "k")
}

func (h Harness) testBatch(t *testing.T) {
	s := h.open(t)
	put(t, s, doc("b", "old", 0), driver.Any, true)
	done, err := s.Save(t.Context(), "acme", "c",
		driver.Write{Document: doc("c", "1", 0), If: driver.Absent}, driver.Write{Document: doc("b", "1", 0), If: driver.Absent},
		driver.Write{Document: doc("a", "1", 0), If: driver.Any}, driver.Write{Document: doc("d", "", 0), If: driver.Any, Delete: true})
	if err != nil || !slices.Equal(done, []bool{true, false, true, false}) {
		t.Errorf("%v, %v", done, err)
	}
	wantKeys(t, find(t, s, driver.All(5)), "a", "b", "c")
	if d, err := s.Load(t.Context(), "acme", "c", "b"); err != nil || string(d.Value) != "old" {
		t.Errorf("%+v, %v", d, err)
	}
	if done, err := s.Save(t.Context(), "acme", "c"); len(done) != 0 || err != nil {
		t.Errorf("nothing: %v, %v", done, err)
	}
}

func (h Harness) testArguments(t *testing.T) {
	s := h.open(t)
	for name, c := range map[string]struct {
		write driver.Document
		code  kernel.Code
		says  string
	}{
		"no key":      {doc("", "1", 0), kernel.CodeArguments, "a key of a document cannot be"},
		"no text":     {doc("\xff", "1", 0), kernel.CodeArguments, "it is text"},
		"long key":    {doc(strings.Repeat("k", datastore.MaxKey+1), "1", 0), kernel.CodeLimit, "a key is too long"},
		"large value": {doc("k", strings.Repeat("k", datastore.MaxValue+1), 0), kernel.CodeLimit, "the document k is too large"},
		"terms":       {doc("k", "1", 0, strings.Split(strings.Repeat("a,", datastore.MaxTerms), ",")...), kernel.CodeLimit, "too many terms"},
		"empty term":  {doc("k", "1", 0, ""), kernel.CodeArguments, "a term of a document cannot be"},
	} {
		_, err := s.Put(t.Context(), "acme", "c", c.write, driver.Any)
		if kernel.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := driver.Write{Document: doc("k", "1", 0), If: driver.Any}
	if _, err := s.Save(t.Context(), "acme", "c", twice, twice); kernel.CodeOf(err) != kernel.CodeArguments {
		t.Error(err)
	}
	if _, err := s.Save(t.Context(), "acme", "c", make([]driver.Write, datastore.MaxBatch+1)...); kernel.CodeOf(err) != kernel.CodeLimit {
		t.Error(err)
	}
	for _, limit := range []int{0, -1, datastore.MaxLimit + 1} {
		if _, err := s.Query(t.Context(), "acme", "c", driver.All(limit)); kernel.CodeOf(err) != kernel.CodeArguments {
			t.Errorf("%d: %v", limit, err)
		}
	}
}

// testOneWins: of many that create a document, or change the same revision, one does.
func (h Harness) testOneWins(t *testing.T) {
	s := h.open(t)
	for condition := range int64(4) {
		var won atomic.Int64
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				done, err := s.Put(t.Context(), "acme", "c", doc("k", fmt.Sprint(i), int64(i), fmt.Sprint("t", i)), condition)
				if err != nil {
					t.Error(err)
				}
				if done {
					won.Add(1)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("revision %d: %d won", condition, won.Load())
		}
	}
}

func (h Harness) testCounter(t *testing.T) {
	s := h.open(t)
	put(t, s, doc("k", "0", 0), driver.Absent, true)
	const workers, each = 4, 10
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := 0; n < each; {
				d, err := s.Load(t.Context(), "acme", "c", "k")
				if err != nil {
					t.Error(err)
					return
				}
				done, err := s.Put(t.Context(), "acme", "c", doc("k", "", d.Order+1), d.Revision)
				if err != nil {
					t.Error(err)
					return
				}
				if done {
					n++
				}
			}
		})
	}
	all.Wait()
	if d, err := s.Load(t.Context(), "acme", "c", "k"); err != nil || d.Order != workers*each || d.Revision != workers*each+1 {
		t.Errorf("%+v, %v", d, err)
	}
}

// testCrossed: writes of the same keys in other orders do not wait for each other for ever.
func (h Harness) testCrossed(t *testing.T) {
	s := h.open(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for range 10 {
				writes := []driver.Write{{Document: doc("a", "1", 0, "x"), If: driver.Any}, {Document: doc("b", "1", 0, "x"), If: driver.Any}}
				if i%2 == 0 {
					slices.Reverse(writes)
				}
				if _, err := s.Save(t.Context(), "acme", "c", writes...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	wantKeys(t, find(t, s, driver.All(5)), "a", "b")
}

// testClock: the store has a clock, which goes on.
func (h Harness) testClock(t *testing.T) {
	s := h.open(t)
	first, err := s.Now(t.Context())
	if err != nil || first.Before(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Fatalf("%v, %v", first, err)
	}
	for now := first; !now.After(first); {
		if now, err = s.Now(t.Context()); err != nil || now.Before(first) {
			t.Fatalf("after %v it is %v, %v", first, now, err)
		}
	}
}

func (h Harness) testEnded(t *testing.T) {
	s := h.open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Load(ctx, "acme", "c", "k")
	_, perr := s.Put(ctx, "acme", "c", doc("k", "1", 0), driver.Any)
	_, qerr := s.Query(ctx, "acme", "c", driver.All(1))
	_, nerr := s.Now(ctx)
	for _, err := range []error{err, perr, qerr, nerr} {
		if kernel.CodeOf(err) != kernel.CodeCanceled {
			t.Error(err)
		}
	}
	wantKeys(t, find(t, s, driver.All(1)))
}

func (h Harness) testClosed(t *testing.T) {
	s := datastore.New(h(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(t.Context(), "acme", "c", "k"); err == nil {
		t.Error("a closed store answers")
	}
}
