package vectorsearchtest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/ports/vectorsearch"
	"github.com/hexdag/hexdag/host/ports/vectorsearch/driver"
)

// testFences: who holds a lock no longer writes and deletes nothing, whatever it thinks.
func (h Harness) testFences(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	put := func(ctx context.Context, tenant, id string, values ...float32) error {
		return v.Upsert(ctx, tenant, "c", []vectorsearch.Vector{{ID: id, Values: values}})
	}
	under := func(lock string, token uint64) context.Context {
		return kerneltest.Under(t.Context(), "acme", "r", lock, token)
	}
	want := func(what string, err error, code kernel.Code) {
		t.Helper()
		if got := kernel.CodeOf(err); got != code {
			t.Errorf("%s: %v (%s), want %s", what, err, got, code)
		}
	}
	remove := func(ctx context.Context) error {
		_, err := v.Delete(ctx, "acme", "c", []string{"first"}, nil)
		return err
	}
	want("the first", put(under("a", 5), "acme", "first", 1, 2), "")
	want("a larger one", put(under("a", 7), "acme", "second", 1, 2), "")
	want("a smaller one", put(under("a", 6), "acme", "third", 1, 2), kernel.CodeLockLost)
	want("a delete with a smaller one", remove(under("a", 5)), kernel.CodeLockLost)
	want("a lock that is known to be lost", put(kerneltest.UnderLost(t.Context(), "acme", "r", "a"), "acme", "fourth", 1, 2), kernel.CodeLockLost)
	want("a delete under it", remove(kerneltest.UnderLost(t.Context(), "acme", "r", "a")), kernel.CodeLockLost)
	want("another lock", put(under("b", 1), "acme", "fifth", 1, 2), "")
	want("another tenant's", put(under("a", 1), "umbrella", "first", 1, 2), "")
	want("none", put(t.Context(), "acme", "sixth", 1, 2), "")
	want("one that fails", put(under("d", 9), "acme", "x", 1, 2, 3), kernel.CodeArguments)
	want("after that, a smaller one", put(under("d", 8), "acme", "seventh", 1, 2), "")
	want("a delete", remove(under("a", 8)), "")
	want("a delete comes to count", put(under("a", 7), "acme", "eighth", 1, 2), kernel.CodeLockLost)
	if c, err := v.Stat(t.Context(), "acme", "c"); err != nil || c.Count != 4 {
		t.Errorf("%+v, %v, want 4 vectors", c, err)
	}
}

// testFencesRace: of writes at once, none is done once one with a larger token is.
func (h Harness) testFencesRace(t *testing.T) {
	v := h.open(t, driver.Cosine, vectorsearch.Options{})
	var largest atomic.Uint64 // of a write that has returned
	var wg sync.WaitGroup
	for n := range uint64(16) {
		wg.Go(func() {
			before := largest.Load()
			err := v.Upsert(kerneltest.Under(t.Context(), "acme", "r", "a", n+1), "acme", "c", []vectorsearch.Vector{{ID: "x", Values: []float32{1, float32(n)}}})
			switch {
			case err == nil && before > n+1:
				t.Errorf("token %d was taken after %d", n+1, before)
			case err == nil:
				for old := largest.Load(); old < n+1 && !largest.CompareAndSwap(old, n+1); old = largest.Load() {
				}
			case kernel.CodeOf(err) != kernel.CodeLockLost:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	found, err := v.Search(t.Context(), "acme", "c", vectorsearch.Query{Values: []float32{1, 15}, Limit: 1})
	if err != nil || len(found) != 1 || found[0].Values[1] != 15 {
		t.Errorf("last written is %+v, %v", found, err)
	}
}
