package memstore_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memorytest"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	memorytest.Run(t, func(*testing.T) driver.Store { return memstore.New() })
}

func put(t testing.TB, s driver.Store, now time.Time, key string, expires time.Time) {
	t.Helper()
	p := &driver.Put{Entry: driver.Entry{Key: key, Value: []byte("1"), Expires: expires}, Room: driver.Room{Keys: 1 << 20, Bytes: 1 << 30}}
	if done, err := s.Put(t.Context(), now, "acme", p); err != nil || !done {
		t.Fatal(done, err)
	}
}

func BenchmarkGet(b *testing.B) {
	s := memstore.New()
	now := time.Now()
	put(b, s, now, "k", time.Time{})
	for b.Loop() {
		if _, found, err := s.Get(b.Context(), now, "acme", "k"); err != nil || !found {
			b.Fatal(found, err)
		}
	}
}
