package artifactstest

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

// testFences: who holds a lock no longer stores and deletes nothing, whatever it thinks.
func testFences(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	under := func(lock string, token uint64) context.Context {
		return kerneltest.Under(t.Context(), "acme", "r", lock, token)
	}
	put := func(ctx context.Context, name string) (*artifacts.Artifact, error) {
		return s.Store(ctx, "r", name, strings.NewReader(name), artifacts.StoreOptions{})
	}
	first, err := put(under("a", 5), "first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(under("a", 7), "second"); err != nil {
		t.Errorf("a larger token: %v", err)
	}
	_, err = put(under("a", 6), "third")
	wantCode(t, err, kernel.CodeLockLost)
	wantCode(t, s.Delete(under("a", 5), first.ID), kernel.CodeLockLost)
	_, err = put(kerneltest.UnderLost(t.Context(), "acme", "r", "a"), "fourth")
	wantCode(t, err, kernel.CodeLockLost)
	_, err = put(under("b", 1), "fifth")
	wantCode(t, err, "")
	_, err = put(t.Context(), "sixth")
	wantCode(t, err, "")
	wantCode(t, s.Delete(under("a", 7), first.ID), "")
	list, err := s.List(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range list {
		names = append(names, a.Name)
	}
	if len(names) != 3 || strings.Contains(strings.Join(names, " "), "third") || strings.Contains(strings.Join(names, " "), "fourth") {
		t.Errorf("kept are %q", names)
	}
	// A new store over the bucket has seen the same.
	_, err = artifacts.New(b, artifacts.Options{}).Store(under("a", 6), "r", "seventh", strings.NewReader("x"), artifacts.StoreOptions{})
	wantCode(t, err, kernel.CodeLockLost)
}

// testFencesRace: of stores at once, none is done once one with a larger token is.
func testFencesRace(t *testing.T, b driver.Bucket) {
	s := artifacts.New(b, artifacts.Options{})
	var largest atomic.Uint64 // of a store that has returned
	var wg sync.WaitGroup
	for n := range uint64(16) {
		wg.Go(func() {
			before := largest.Load()
			_, err := s.Store(kerneltest.Under(t.Context(), "acme", "r", "a", n+1), "r", "x", strings.NewReader("x"), artifacts.StoreOptions{})
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
	if largest.Load() != 16 {
		t.Errorf("the largest token that was taken is %d", largest.Load())
	}
}
