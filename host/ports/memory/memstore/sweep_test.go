package memstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// Expired entries go in the course of Puts, without anybody asking for them.
func TestSweep(t *testing.T) {
	s := New()
	now := time.Now()
	put := func(key string, expires time.Time) {
		p := &driver.Put{Entry: driver.Entry{Key: key, Value: []byte("1"), Expires: expires}, Room: driver.Room{Keys: 1000, Bytes: 1 << 20}}
		if done, err := s.Put(t.Context(), now, "acme", p); err != nil || !done {
			t.Fatal(done, err)
		}
	}
	for i := range 100 {
		put(fmt.Sprint(i), now.Add(time.Second))
	}
	now = now.Add(sweepEvery)
	put("last", time.Time{})
	if n, bytes := len(s.tenants["acme"].entries), s.tenants["acme"].bytes; n != 1 || bytes != int64(len("last1")) {
		t.Errorf("%d entries of %d bytes are left", n, bytes)
	}
	if _, err := s.Delete(t.Context(), now, "acme", "last"); err != nil || len(s.tenants) != 0 {
		t.Errorf("%v, %d tenants without keys are left", err, len(s.tenants))
	}
}
