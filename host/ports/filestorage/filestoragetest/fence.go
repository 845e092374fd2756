package filestoragetest

import (
	"context"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/kernel/kerneltest"
	"github.com/hexdag/hexdag/host/ports/filestorage"
)

// testFences: who holds a lock no longer writes and deletes nothing, whatever it thinks.
func (h Harness) testFences(t *testing.T) {
	storage := h(t)
	f := filestorage.New(storage, filestorage.Options{})
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	under := func(lock string, token uint64) context.Context {
		return kerneltest.Under(t.Context(), "acme", "r", lock, token)
	}
	write := func(ctx context.Context, f *filestorage.Files, tenant, path string) error {
		_, err := f.Write(ctx, tenant, path, strings.NewReader(path), filestorage.WriteOptions{})
		return err
	}
	want := func(what string, err error, code kernel.Code) {
		t.Helper()
		if got := kernel.CodeOf(err); got != code {
			t.Errorf("%s: %v (%s), want %s", what, err, got, code)
		}
	}
	want("the first", write(under("a", 5), f, "acme", "first"), "")
	want("the same", write(under("a", 5), f, "acme", "first"), "")
	want("a larger one", write(under("a", 7), f, "acme", "second"), "")
	want("a smaller one", write(under("a", 6), f, "acme", "third"), kernel.CodeLockLost)
	want("a smaller one over a file", write(under("a", 6), f, "acme", "first"), kernel.CodeLockLost)
	want("a delete with a smaller one", f.Delete(under("a", 5), "acme", "first"), kernel.CodeLockLost)
	want("a lock that is known to be lost", write(kerneltest.UnderLost(t.Context(), "acme", "r", "a"), f, "acme", "fourth"), kernel.CodeLockLost)
	want("a delete under it", f.Delete(kerneltest.UnderLost(t.Context(), "acme", "r", "a"), "acme", "first"), kernel.CodeLockLost)
	want("another lock", write(under("b", 1), f, "acme", "fifth"), "")
	want("another tenant's", write(under("a", 1), f, "umbrella", "first"), "")
	want("none", write(t.Context(), f, "acme", "sixth"), "")
	want("a delete", f.Delete(under("a", 8), "acme", "second"), "")
	want("a delete comes to count", write(under("a", 7), f, "acme", "seventh"), kernel.CodeLockLost)
	shared := filestorage.New(storage, filestorage.Options{Shared: true}) // closed with the other
	for name, f := range map[string]*filestorage.Files{"acme": f, "all": shared} {
		list, _, err := f.List(t.Context(), "acme", "", "", 100)
		var paths []string
		for _, info := range list {
			paths = append(paths, info.Path)
		}
		if got := strings.Join(paths, " "); err != nil || got != map[string]string{"acme": "fifth first sixth", "all": "acme/fifth acme/first acme/sixth umbrella/first"}[name] {
			t.Errorf("%s: %s, %v: what was seen of locks is nobody's to read", name, got, err)
		}
	}
	want("anew", write(under("a", 7), filestorage.New(storage, filestorage.Options{}), "acme", "eighth"), kernel.CodeLockLost)
}

// testFencesRace: of writes at once, none is done once one with a larger token is.
func (h Harness) testFencesRace(t *testing.T) {
	f := h.open(t, filestorage.Options{})
	var largest atomic.Uint64 // of a write that has returned
	var wg sync.WaitGroup
	for n := range uint64(16) {
		wg.Go(func() {
			before := largest.Load()
			_, err := f.Write(kerneltest.Under(t.Context(), "acme", "r", "a", n+1), "acme", "x", strings.NewReader(strconv.FormatUint(n+1, 10)), filestorage.WriteOptions{})
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
	r, _, err := f.Open(t.Context(), "acme", "x", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "16" {
		t.Errorf("last written is %s, %v", text, err)
	}
}
