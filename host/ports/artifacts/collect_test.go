package artifacts_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
)

// TestCollectHoldsLittle collects artifacts whose manifests are large.
func TestCollectHoldsLittle(t *testing.T) {
	const n, each = 3000, 8 << 10
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{TenantBytes: 1 << 40})
	for i := range n {
		_, err := s.Store(t.Context(), "run", strconv.Itoa(i), strings.NewReader("x"), artifacts.StoreOptions{Metadata: map[string]any{"x": strings.Repeat("x", each)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	live := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, during, seen := live(), int64(0), 0
	_, err := s.Collect(t.Context(), artifacts.CollectOptions{KeepFor: 1, Keep: func(*artifacts.Artifact) bool {
		if seen++; seen == n {
			during = live()
		}
		return true
	}})
	if err != nil || seen != n {
		t.Fatalf("%d were asked about, %v", seen, err)
	}
	if held := during - before; held > n*500 {
		t.Errorf("%d bytes are held for each of %d artifacts", held/n, n)
	}
}

// TestCollectTakesLong: a store that takes a piece as it is, while a collection has listed the recipes
// and has not come to the pieces, keeps it, however old it is by then.
func TestCollectTakesLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := make([]byte, 2*artifacts.PiecesAbove)
		_, _ = rand.NewChaCha8([32]byte{}).Read(data)
		bucket := memartifacts.NewBucket()
		s := artifacts.New(bucket, artifacts.Options{})
		first, err := s.Store(t.Context(), "run", "first", bytes.NewReader(data), artifacts.StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(7 * time.Hour) // the pieces are taken as they are
		var second *artifacts.Artifact
		slow := &before{Bucket: bucket, prefix: "pieces/", do: func() {
			if second, err = s.Store(t.Context(), "run", "second", bytes.NewReader(data), artifacts.StoreOptions{}); err != nil {
				t.Error(err)
			}
			time.Sleep(20 * time.Hour)
		}}
		if _, err := artifacts.New(slow, artifacts.Options{}).Collect(t.Context(), artifacts.CollectOptions{}); err != nil {
			t.Fatal(err)
		}
		if got, _, err := s.RetrieveBytes(t.Context(), second.ID, 1<<30); err != nil || !bytes.Equal(got, data) {
			t.Error(err)
		}
		time.Sleep(7 * time.Hour)
		late := io.MultiReader(bytes.NewReader(data), readerFunc(func([]byte) (int, error) {
			time.Sleep(9 * time.Hour)
			return 0, io.EOF
		}))
		_, err = s.Store(t.Context(), "run", "late", late, artifacts.StoreOptions{})
		wantCode(t, "a store that takes so long", err, kernel.CodeTimeout)
	})
}

// before is a bucket that does something before it first lists below a prefix.
type before struct {
	driver.Bucket
	prefix string
	do     func()
}

func (b *before) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	if prefix == b.prefix && b.do != nil {
		do := b.do
		b.do = nil
		do()
	}
	return b.Bucket.List(ctx, prefix, after, limit)
}

// TestQuotaOfSharedBucket: where content waits for Collect, a delete gives back no more than the manifest.
func TestQuotaOfSharedBucket(t *testing.T) {
	s := artifacts.New(memartifacts.NewBucket(), artifacts.Options{TenantBytes: 12_000, Shared: true})
	store := func(name, data string) (*artifacts.Artifact, error) {
		return s.Store(t.Context(), "run", name, strings.NewReader(data), artifacts.StoreOptions{})
	}
	one, two := strings.Repeat("1", 5000), strings.Repeat("2", 5000)
	a, err := store("a", one)
	wantCode(t, "first", err, "")
	b, err := store("b", one)
	wantCode(t, "of the same content", err, "")
	wantCode(t, "deleted", s.Delete(t.Context(), a.ID), "") // the other needs the content
	c, err := store("c", two)
	wantCode(t, "in its place", err, "")
	wantCode(t, "deleted", s.Delete(t.Context(), b.ID), "")
	wantCode(t, "deleted", s.Delete(t.Context(), c.ID), "")
	_, err = store("d", strings.Repeat("3", 5000))
	wantCode(t, "beside what waits", err, kernel.CodeLimit)
	_, err = store("e", "3")
	wantCode(t, "small", err, "")
}
