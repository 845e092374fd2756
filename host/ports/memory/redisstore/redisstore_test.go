package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
	"github.com/hexdag/hexdag/host/ports/memory/memorytest"
	"github.com/hexdag/hexdag/host/ports/memory/redisstore"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, r *testserver.Process, prefix string) driver.Store {
	t.Helper()
	s, err := redisstore.Open(t.Context(), redisstore.Config{URL: "redis://" + r.Address(), Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConformance(t *testing.T) {
	r := testserver.Redis(t) // what is synced is another test's
	var n atomic.Int64
	memorytest.Run(t, func(t *testing.T) driver.Store { return open(t, r, fmt.Sprintf("test%d:", n.Add(1))) })
}

// TestTwoStores share a Redis, as two processes do: one swap wins.
func TestTwoStores(t *testing.T) {
	r := testserver.Redis(t)
	var memories []*memory.Memory
	for range 2 {
		m := memory.New(open(t, r, ""), memory.Options{})
		defer m.Close()
		memories = append(memories, m)
	}
	for round := range 20 {
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				created, err := memories[i%2].Create(t.Context(), "acme", fmt.Sprint(round), kernel.Number(int64(i)), 0)
				if err != nil {
					t.Error(err)
				}
				if created {
					won.Add(1)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d won", won.Load())
		}
	}
}

// TestCrash: what was acknowledged is there after Redis was killed, a store finds it again
// by itself, and meanwhile it says that it cannot.
func TestCrash(t *testing.T) {
	r := testserver.Redis(t, "--appendonly", "yes", "--appendfsync", "always")
	m := memory.New(open(t, r, ""), memory.Options{})
	defer m.Close()
	for i := range 100 {
		if err := m.Set(t.Context(), "acme", fmt.Sprintf("k%03d", i), kernel.Number(int64(i)), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	r.Kill()
	_, _, err := m.Get(t.Context(), "acme", "k000")
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("without Redis: %v", err)
	}
	r.Restart()
	keys, err := m.ListKeys(t.Context(), "acme", "k", "", 1000)
	if err != nil || len(keys) != 100 {
		t.Errorf("after the crash: %d keys, %v", len(keys), err)
	}
	// Redis forgets its scripts, and gets them again.
	if swapped, err := m.CompareAndSwap(t.Context(), "acme", "k007", kernel.Number(7), kernel.Number(8), 0); !swapped || err != nil {
		t.Errorf("%v, %v", swapped, err)
	}
}

// TestForgotten: where all that a tenant has expires, Redis drops it without another Put;
// where something stays, nothing is dropped.
func TestForgotten(t *testing.T) {
	r := testserver.Redis(t)
	m := memory.New(open(t, r, "m:"), memory.Options{})
	defer m.Close()
	client := redis.NewClient(&redis.Options{Addr: r.Address()})
	defer client.Close()
	expires := func(tenant string) map[string]time.Duration {
		found := map[string]time.Duration{}
		names, err := client.Keys(t.Context(), "m:{t"+fmt.Sprintf("%x", tenant)+"}*").Result()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			found[name] = client.TTL(t.Context(), name).Val()
		}
		return found
	}
	set := func(tenant, key string, ttl time.Duration) {
		if err := m.Set(t.Context(), tenant, key, 1, ttl); err != nil {
			t.Fatal(err)
		}
	}
	set("acme", "a", time.Hour)
	set("acme", "b", time.Minute)
	if got := expires("acme"); len(got) != 4 {
		t.Errorf("%v", got)
	} else {
		for name, ttl := range got {
			if ttl < time.Hour || ttl > time.Hour+2*time.Minute {
				t.Errorf("%s expires in %s", name, ttl)
			}
		}
	}
	set("acme", "c", 0)
	for name, ttl := range expires("acme") {
		if ttl >= 0 {
			t.Errorf("%s expires in %s, with a key that does not", name, ttl)
		}
	}
	for _, key := range []string{"a", "b", "c"} {
		if found, err := m.Delete(t.Context(), "acme", key); !found || err != nil {
			t.Errorf("%s: %v, %v", key, found, err)
		}
	}
	if got := expires("acme"); len(got) != 0 {
		t.Errorf("without entries there is %v", got)
	}
}

// TestFull: a Redis without memory refuses what it cannot keep, and says why.
func TestFull(t *testing.T) {
	r := testserver.Redis(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	m := memory.New(open(t, r, ""), memory.Options{})
	defer m.Close()
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = m.Set(t.Context(), "acme", fmt.Sprint(i), strings.Repeat("x", 50_000), 0)
	}
	if kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "its memory is full") {
		t.Errorf("%v", err)
	}
}

func TestConfiguration(t *testing.T) {
	r := testserver.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	locked := testserver.Redis(t, "--requirepass", "sesame")
	for url, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"":                                     {kernel.CodeConfig, "url is missing"},
		"http://localhost":                     {kernel.CodeConfig, "url cannot be read"},
		"redis://:hunter2@%zz/":                {kernel.CodeConfig, "url cannot be read"},
		"redis://127.0.0.1:1":                  {kernel.CodeUnavailable, "cannot be reached"},
		"redis://" + r.Address():               {kernel.CodeConfig, "allkeys-lru"},
		"redis://" + locked.Address():          {kernel.CodeUnavailable, "NOAUTH"},
		"redis://:hunter2@" + locked.Address(): {kernel.CodeUnavailable, "WRONGPASS"},
	} {
		_, err := redisstore.Open(t.Context(), redisstore.Config{URL: url})
		if kernel.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %s and %q", url, err, want.code, want.says)
		}
	}
	for _, cfg := range []redisstore.Config{{URL: "redis://" + r.Address(), AllowEviction: true}, {URL: "redis://:sesame@" + locked.Address() + "/3"}} {
		s, err := redisstore.Open(t.Context(), cfg)
		if err != nil {
			t.Errorf("%+v: %v", cfg, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// BenchmarkSet is beside the command that a user would write: SET with an expiry.
func BenchmarkSet(b *testing.B) {
	r := testserver.Redis(b, "--appendonly", "yes", "--appendfsync", "everysec")
	b.Run("port", func(b *testing.B) {
		m := memory.New(open(b, r, ""), memory.Options{})
		defer m.Close()
		for b.Loop() {
			if err := m.Set(b.Context(), "acme", "k", "v", time.Hour); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("client", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: r.Address()})
		defer client.Close()
		for b.Loop() {
			if err := client.Set(context.Background(), "k", `"v"`, time.Hour).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
