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

// TestEvictedParts has Redis lose each part of what a tenant has: what is left is told rightly, and
// counted.
func TestEvictedParts(t *testing.T) {
	r := testserver.Redis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-random")
	client := redis.NewClient(&redis.Options{Addr: r.Address()})
	defer client.Close()
	s, err := redisstore.Open(t.Context(), redisstore.Config{URL: "redis://" + r.Address(), Prefix: "m:", AllowEviction: true})
	if err != nil {
		t.Fatal(err)
	}
	m := memory.New(s, memory.Options{MaxKeys: 4, MaxBytes: 100})
	defer m.Close()
	set := func(tenant, key string, ttl time.Duration) {
		t.Helper()
		if err := m.Set(t.Context(), tenant, key, 1, ttl); err != nil {
			t.Fatalf("%s: %v", tenant, err)
		}
	}
	for parts := range 16 {
		for name, then := range map[string]func(tenant string) error{
			"set":    func(tenant string) error { return m.Set(t.Context(), tenant, "new", 1, 0) },
			"delete": func(tenant string) error { _, err := m.Delete(t.Context(), tenant, "passing"); return err },
			"list":   func(tenant string) error { _, err := m.ListKeys(t.Context(), tenant, "", "", 10); return err },
		} {
			tenant := fmt.Sprintf("%s-%d", name, parts)
			set(tenant, "stays", 0)
			set(tenant, "later", time.Hour)
			set(tenant, "passing", time.Millisecond)
			time.Sleep(2 * time.Millisecond)
			for i, part := range []string{"v", "k", "x", "b"} {
				if parts>>i&1 == 1 {
					client.Del(t.Context(), "m:{t"+fmt.Sprintf("%x", tenant)+"}:"+part)
				}
			}
			if err := then(tenant); err != nil {
				t.Errorf("%s: %v", tenant, err)
			}
			wantTold(t, m, tenant)
			for _, key := range []string{"stays", "later", "one more"} { // the fourth with "new"
				set(tenant, key, 0)
			}
			set(tenant, "new", 0)
			if err := m.Set(t.Context(), tenant, "too many", 1, 0); kernel.CodeOf(err) != kernel.CodeLimit {
				t.Errorf("%s: a fifth key: %v", tenant, err)
			}
			if err := m.Set(t.Context(), tenant, "new", strings.Repeat("x", 75), 0); kernel.CodeOf(err) != kernel.CodeLimit {
				t.Errorf("%s: 100 bytes and more: %v", tenant, err)
			}
		}
	}
}

// wantTold compares what is listed with what is there.
func wantTold(t *testing.T, m *memory.Memory, tenant string) (listed int) {
	t.Helper()
	keys, err := m.ListKeys(t.Context(), tenant, "", "", 1000)
	if err != nil {
		t.Fatalf("%s: %v", tenant, err)
	}
	told := map[string]bool{}
	for _, key := range keys {
		told[key] = true
	}
	for _, key := range []string{"stays", "later", "passing", "new", "one more"} {
		_, found, err := m.Get(t.Context(), tenant, key)
		if err != nil || found != told[key] {
			t.Errorf("%s: %s: there %v, listed %v, %v", tenant, key, found, told[key], err)
		}
	}
	return len(keys)
}

// TestEviction fills a Redis that evicts with more than it has room for.
func TestEviction(t *testing.T) {
	r := testserver.Redis(t, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random", "--maxmemory-samples", "1")
	s, err := redisstore.Open(t.Context(), redisstore.Config{URL: "redis://" + r.Address(), AllowEviction: true})
	if err != nil {
		t.Fatal(err)
	}
	m := memory.New(s, memory.Options{})
	defer m.Close()
	lost := 0
	for i := range 1500 {
		tenant := fmt.Sprintf("t%d", i*7%100)
		for _, key := range []string{"stays", "later"} {
			if err := m.Set(t.Context(), tenant, key, strings.Repeat("x", 20_000), map[string]time.Duration{"later": time.Hour}[key]); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		for _, key := range []string{"passing", "new"} {
			if err := m.Set(t.Context(), tenant, key, 1, time.Millisecond); err != nil {
				t.Fatalf("%d: %v", i, err)
			}
		}
		if _, err := m.Delete(t.Context(), fmt.Sprintf("t%d", i*13%100), "later"); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if _, err := m.ListKeys(t.Context(), fmt.Sprintf("t%d", i*11%100), "", "", 10); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
		if _, found, err := m.Get(t.Context(), fmt.Sprintf("t%d", i*17%100), "stays"); err != nil {
			t.Fatalf("%d: %v", i, err)
		} else if !found {
			lost++
		}
	}
	if lost < 50 {
		t.Errorf("Redis has lost only %d of 1500: it was not full", lost)
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
