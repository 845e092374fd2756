package host_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/testserver"
)

// busy is a function that notes how many of it run at once.
type busy struct{ now, most, all atomic.Int64 }

func (b *busy) work(context.Context, *kernel.NodeCall) (kernel.Value, error) {
	n := b.now.Add(1)
	for old := b.most.Load(); n > old && !b.most.CompareAndSwap(old, n); old = b.most.Load() {
	}
	time.Sleep(2 * time.Millisecond)
	b.now.Add(-1)
	b.all.Add(1)
	return true, nil
}

func locking(spec, lockOf string) string {
	return "kind: Pipeline\nmetadata: {name: t}\nspec:\n" + spec + "  nodes:\n    - {kind: function_node, metadata: {name: w}, spec: {fn: busy.work" + lockOf + "}}\n"
}

func isLocked(t *testing.T, h *host.Host, name string) bool {
	t.Helper()
	locked, err := h.Locks().IsLocked(t.Context(), "default", name)
	if err != nil {
		t.Fatal(err)
	}
	return locked
}

// Only one run at a time does what holds a lock; of a semaphore, so many.
func TestLocksOfNodesAndPipelines(t *testing.T) {
	for name, tc := range map[string]struct {
		spec, node string
		most       int64
	}{
		"a node's lock":       {"", ", lock: orders", 1},
		"a pipeline's lock":   {"  lock: {name: orders, timeout: 30, ttl: 5}\n", "", 1},
		"two permits":         {"", ", lock: {name: orders, permits: 2}", 2},
		"a name of the input": {"", ", lock: 'order-{{ $input.id }}'", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := &busy{}
			h, p := loaded(t, locking(tc.spec, tc.node), host.Options{Functions: map[string]host.Function{"busy.work": b.work}})
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if res := run(t, p, `{"id": 7}`); res.Err != nil {
						t.Error(res.Err)
					}
				})
			}
			all.Wait()
			if b.all.Load() != 10 || b.most.Load() > tc.most {
				t.Errorf("%d ran, %d at once, want 10 and %d", b.all.Load(), b.most.Load(), tc.most)
			}
			for _, lock := range []string{"orders", "order-7"} {
				if isLocked(t, h, lock) {
					t.Errorf("%s is held after the runs", lock)
				}
			}
		})
	}
}

// Bodies of one run exclude each other, too, and a node that waits for a lock keeps no place from who holds it.
func TestLocksWithinARun(t *testing.T) {
	b := &busy{}
	_, p := loaded(t, `kind: Pipeline
metadata: {name: t}
spec:
  orchestrator: {max_concurrent_nodes: 1}
  nodes:
    - kind: composite_node
      metadata: {name: outer}
      dependencies: []
      spec: {mode: times, count: 3, lock: orders, body: [{kind: function_node, metadata: {name: w}, spec: {fn: busy.work}}]}
    - kind: composite_node
      metadata: {name: each}
      dependencies: []
      spec: {mode: for-each, items: "[1, 2, 3]", concurrency: 3, body: [{kind: function_node, metadata: {name: v}, spec: {fn: busy.work, lock: {name: orders, timeout: 20}}}]}
`, host.Options{Functions: map[string]host.Function{"busy.work": b.work}})
	if res := run(t, p, "{}"); res.Err != nil || b.all.Load() != 6 || b.most.Load() != 1 {
		t.Errorf("%v: %d ran, %d at once", res.Err, b.all.Load(), b.most.Load())
	}
}

func TestLockIsHeld(t *testing.T) {
	h, p := loaded(t, locking("", ", lock: {name: orders, timeout: 0}"), host.Options{Functions: map[string]host.Function{"busy.work": (&busy{}).work}})
	lease, err := h.Locks().Acquire(t.Context(), "default", "orders", lock.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, run(t, p, "{}").Err, kernel.CodeLockHeld, "pipeline.yaml:5:", "node w", "the lock orders is held", "hexdag locks who orders")
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if res := run(t, p, "{}"); res.Err != nil {
		t.Error(res.Err)
	}
}

// However a run ends, it holds nothing afterwards; one that is suspended neither.
func TestLocksEndWithTheRun(t *testing.T) {
	acquire := service("a", "lock.acquire", "{name: \"'orders'\"}", "")
	for name, second := range map[string]string{
		"completed": "{kind: data_node, metadata: {name: b}, dependencies: [a], spec: {output: 1}}",
		"failed":    "{kind: expression_node, metadata: {name: b}, dependencies: [a], spec: {expressions: {x: '1 / 0'}}}",
		"panicked":  "{kind: function_node, metadata: {name: b}, dependencies: [a], spec: {fn: panic}}",
		"cancelled": "{kind: function_node, metadata: {name: b}, dependencies: [a], spec: {fn: hang, timeout: 0.05}}",
		"suspended": "{kind: wait_node, metadata: {name: b}, dependencies: [a], spec: {event_key: k}}",
		"trapped":   "{kind: function_node, metadata: {name: b}, dependencies: [a], spec: {fn: loops}}",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "  modules: {loops: {path: PUPPET, grants: [metrics.count, database.query], config: {loop: true}, limits: {fuel: 1000000}}}\n  ports: {database: {adapter: memory}}\n")
			cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			var held atomic.Bool
			h, err := host.New(t.Context(), cfg, host.Options{
				Functions: map[string]host.Function{
					"panic": func(context.Context, *kernel.NodeCall) (kernel.Value, error) { panic("at the disco") },
					"hang": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
						<-ctx.Done()
						return nil, ctx.Err()
					},
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close(t.Context())
			watch := host.RunOptions{Observer: func(e *host.Event) {
				if e.Type == kernel.NodeCompleted && e.Node == "a" {
					held.Store(true)
				}
			}}
			res := s.load(t, h, acquire, second).Run(t.Context(), map[string]any{}, watch)
			if !held.Load() {
				t.Fatalf("it never held the lock: %v", res.Err)
			}
			if ends := map[string]engine.Status{"completed": engine.Completed, "suspended": engine.Suspended}[name]; ends != "" && res.Status != ends {
				t.Errorf("it ended as %s: %v", res.Status, res.Err)
			}
			if isLocked(t, h, "orders") {
				t.Error("the lock is held after the run")
			}
		})
	}
}

// A run that goes on holds its pipeline's lock again, with a later token.
func TestLockOfAResumedRun(t *testing.T) {
	var tokens []uint64
	var h *host.Host
	note := func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		fences, err := kernel.FencesFrom(ctx)
		if err != nil || len(fences) != 1 || !isLocked(t, h, "orders") {
			t.Errorf("%+v, %v", fences, err)
		}
		for _, f := range fences {
			tokens = append(tokens, f.Token)
		}
		return true, nil
	}
	var p *host.Pipeline
	h, p = loaded(t, `kind: Pipeline
metadata: {name: t}
spec:
  lock: orders
  nodes:
    - {kind: function_node, metadata: {name: a}, spec: {fn: note}}
    - {kind: wait_node, metadata: {name: w}, dependencies: [a], spec: {event_key: go}}
    - {kind: function_node, metadata: {name: b}, dependencies: [w], spec: {fn: note}}
`, host.Options{Functions: map[string]host.Function{"note": note}})
	first := run(t, p, "{}")
	if first.Status != engine.Suspended || isLocked(t, h, "orders") {
		t.Fatalf("%s, %v: suspended, it holds %v", first.Status, first.Err, isLocked(t, h, "orders"))
	}
	second, err := h.Resume(t.Context(), first.RunID, "go", nil, host.RunOptions{})
	if err != nil || second.Status != engine.Completed {
		t.Fatalf("%+v, %v", second, err)
	}
	if len(tokens) != 2 || tokens[1] <= tokens[0] || isLocked(t, h, "orders") {
		t.Errorf("tokens %v", tokens)
	}
}

// TestLostLock: a node whose lock is lost ends, and says so. The server goes away, so that nobody renews.
func TestLostLock(t *testing.T) {
	server := testserver.Redis(t)
	s := newSite(t, "  ports: {lock: {adapter: redis, config: {url: 'redis://"+server.Address()+"', ttl: 0.5}}}\n")
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{Functions: map[string]host.Function{"freeze": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		server.Kill()
		defer server.Restart()
		<-ctx.Done()
		return true, nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	begun := time.Now()
	res := s.load(t, h, "{kind: function_node, metadata: {name: w}, spec: {fn: freeze, lock: orders}}").Run(t.Context(), map[string]any{}, host.RunOptions{})
	wantError(t, res.Err, kernel.CodeLockLost, "node w", "the lock orders is no longer held")
	if res.Status != engine.Failed || time.Since(begun) > 20*time.Second {
		t.Errorf("%s after %s", res.Status, time.Since(begun))
	}
}

// TestStaleHolder: a run that is paused past its lease, and does not know it, writes nothing once another has.
func TestStaleHolder(t *testing.T) {
	s := newSite(t, "  ports: {database: {adapter: sqlite, config: {path: out.db, seed: seed.sql}}}\n")
	s.write(t, "seed.sql", "CREATE TABLE log (who TEXT);")
	h := s.open(t)
	insert := func(who string) string {
		return service("last", "database.insert", "{table: \"'log'\", row: {who: \"'"+who+"'\"}}", "a")
	}
	acquire := service("a", "lock.acquire", "{name: \"'orders'\", ttl: 60}", "")
	// The first run's lease is as it was before the second came: its process stood still in between.
	stale, err := h.Locks().Acquire(t.Context(), "default", "orders", lock.Ask{})
	if err != nil {
		t.Fatal(err)
	}
	if err := stale.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.result(t, h, nil, acquire, insert("second")); err != nil {
		t.Fatal(err)
	}
	paused := &kernel.RunContext{RunID: "paused", Tenant: "default", Started: time.Now()}
	paused.Leases.Add("", thawed{stale}, 1)
	res := s.load(t, h, insertAlone("first")).Run(t.Context(), map[string]any{}, host.RunOptions{Parent: paused})
	wantError(t, res.Err, kernel.CodeLockLost, "a stale holder of the lock", "orders")
	if _, err := s.result(t, h, nil, acquire, insert("third")); err != nil {
		t.Errorf("the next holder: %v", err)
	}
}

func insertAlone(who string) string {
	return service("last", "database.insert", "{table: \"'log'\", row: {who: \"'"+who+"'\"}}", "")
}

// thawed is a lease whose holder has not noticed that it is over.
type thawed struct{ *lock.Lease }

func (thawed) Valid() bool { return true }

func TestLockConfiguration(t *testing.T) {
	for spec, words := range map[string][]string{
		"{adapter: zookeeper}":                                   {"no adapter zookeeper", "consul, etcd, memory, nats, postgres, redis", "hexdag.yaml:4:"},
		"{adapter: memory, config: {url: x}}":                    {"url", "ttl, max_ttl, max_held"},
		"{adapter: memory, config: {ttl: 60, max_ttl: 30}}":      {"max_ttl at least ttl"},
		"{adapter: consul, config: {max_ttl: 86401}}":            {"max_ttl is 24h0m1s", "24h0m0s at most", "another adapter"},
		"{adapter: consul, config: {ttl: 90000}}":                {"max_ttl is 25h0m0s", "24h0m0s at most"},
		"{adapter: redis}":                                       {"url is not set"},
		"{adapter: postgres, config: {url: 'http://x'}}":         {"PostgreSQL"},
		"{adapter: nats, config: {replicas: 9}}":                 {"replicas"},
		"{adapters: [{adapter: memory}, {adapter: memory}]}":     {"takes no pool"},
		"{adapter: etcd, config: {endpoints: [], prefix: 'x'}}":  {"endpoints is empty"},
		"{adapter: consul, config: {address: '', token: 'x'}}":   {"address is not set"},
		"{adapter: memory, config: {max_held: -1, ttl: 0.0001}}": {"max_held"},
	} {
		s := newSite(t, "  ports: {lock: "+spec+"}\n")
		h, err := s.new(t)
		if h != nil {
			_ = h.Close(t.Context())
		}
		wantError(t, err, kernel.CodeConfig, words...)
	}
	for text, words := range map[string][]string{
		"  ports: {lock: {adapter: memory}}\n  nodes: []\n":                                                                        {"a pipeline cannot bring its own lock port"},
		"  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {ttl: 3}}}]\n":                                   {"lock needs name", ":4:"},
		"  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {name: x, tll: 3}}}]\n":                          {"tll", "did you mean ttl?"},
		"  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: 7}}]\n":                                          {"lock"},
		"  nodes: [{kind: wait_node, metadata: {name: a}, spec: {event_key: k, lock: x}}]\n":                                       {"holds no lock while it waits"},
		"  lock: x\n  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: {name: x, timeout: 3}}}]\n":           {"waits for the lock that its run holds"},
		"  lock: {name: x, permits: 1.5}\n  nodes: []\n":                                                                           {"permits"},
		"  nodes: [{kind: data_node, metadata: {name: a}, spec: {output: 1, lock: '{{ nobody.x }}'}}, {kind: nope, metadata: {}}]": {"nope"},
	} {
		h := bare(t, host.Options{})
		_, err := loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n"+text)
		for _, word := range words {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", text, err, word)
			}
		}
	}
}

// TestSharedLocks: two hosts whose configuration names the same server exclude each other.
func TestSharedLocks(t *testing.T) {
	folder := t.TempDir()
	for name, spec := range map[string]string{
		"nats":  "{adapter: nats, config: {folder: '" + folder + "', sync_always: false}}",
		"redis": "{adapter: redis, config: {url: 'redis://" + testserver.Redis(t).Address() + "'}}",
	} {
		t.Run(name, func(t *testing.T) {
			one, two := newSite(t, "  ports: {lock: "+spec+"}\n").open(t), newSite(t, "  ports: {lock: "+spec+"}\n").open(t)
			lease, err := one.Locks().Acquire(t.Context(), "default", "orders", lock.Ask{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := two.Locks().Acquire(t.Context(), "default", "orders", lock.Ask{}); kernel.CodeOf(err) != kernel.CodeLockHeld {
				t.Errorf("the other host: %v", err)
			}
			if err := lease.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
