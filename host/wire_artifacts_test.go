package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/leaselock"
	"github.com/hexdag/hexdag/host/testserver"
)

// TestArtifactsBehindTheLockPort: two hosts that keep artifacts in one bucket of S3 keep each other out by the port
// lock, which holds their quota together.
func TestArtifactsBehindTheLockPort(t *testing.T) {
	const each, quota = 1000, 16_000
	spec := fmt.Sprintf("  ports:\n    lock: {adapter: redis, config: {url: 'redis://%s'}}\n    artifacts: {adapter: blob, config: {url: '%s', prefix: lock-port, tenant_bytes: %d}}\n", testserver.Redis(t).Address(), testserver.S3(t), quota)
	one, two := newSite(t, spec), newSite(t, spec)
	hosts := []*host.Host{one.open(t), two.open(t)}
	node := service("last", "artifacts.store", "{name: \"'a'\", value: $input}", "")
	pipelines := []*host.Pipeline{one.load(t, hosts[0], node), two.load(t, hosts[1], node)}

	var stored, refused atomic.Int32
	var wg sync.WaitGroup
	for p, pipeline := range pipelines {
		for g := range 2 {
			wg.Go(func() {
				for i := range 8 {
					res := pipeline.Run(t.Context(), map[string]any{"x": fmt.Sprint(p, g, i) + strings.Repeat(".", each)}, host.RunOptions{})
					switch {
					case res.Status == engine.Completed:
						stored.Add(1)
					case kernel.CodeOf(res.Err) == kernel.CodeLimit:
						refused.Add(1)
					default:
						t.Error(res.Err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := stored.Load(); n < 8 || n > quota/each || refused.Load() != 32-n {
		t.Errorf("%d of %d bytes were stored, %d refused", n, each, refused.Load())
	}

	cfg, err := host.LoadConfig(two.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := host.OpenArtifacts(t.Context(), cfg) // as the command does
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	sums, err := store.Collect(t.Context(), host.CollectOptions{})
	if err != nil || sums.Markers+sums.Objects != 0 {
		t.Errorf("%+v, %v", sums, err)
	}
	locks, _, err := host.OpenLocks(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer locks.Close()
	alone, err := leaselock.New(func() *host.Locks { return locks }, "blob").Lock(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	waits := func(what string, do func(ctx context.Context) error) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if err := do(ctx); kernel.CodeOf(err) != kernel.CodeTimeout {
			t.Errorf("%s beside one who has the lock alone: %v", what, err)
		}
	}
	waits("a store", func(ctx context.Context) error {
		return pipelines[0].Run(ctx, map[string]any{"x": "y"}, host.RunOptions{}).Err
	})
	waits("a delete", func(ctx context.Context) error {
		for a, err := range store.All(t.Context()) {
			if err != nil {
				return err
			}
			return store.Delete(ctx, a.ID)
		}
		return nil
	})
	alone()
	for a, err := range store.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Delete(t.Context(), a.ID); err != nil {
			t.Error(err)
		}
	}
}

// TestStoresShowNoCredentials: a report of a run may be passed on.
func TestStoresShowNoCredentials(t *testing.T) {
	server, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: -1, Username: "u", Password: "hunter2", JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.WaitForShutdown()
	defer server.Shutdown()
	if !server.ReadyForConnections(time.Minute) {
		t.Fatal("no server")
	}
	url := strings.Replace(server.ClientURL(), "u:hunter2@", "", 1)
	s := newSite(t, "  ports: {artifacts: {adapter: nats, config: {url: '"+strings.Replace(url, "://", "://u:hunter2@", 1)+"'}}}\n")
	h := s.open(t)
	if got := h.Stores()["artifacts"]; got != url {
		t.Errorf("artifacts are in %s, want %s", got, url)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
