package leaselock_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"gocloud.dev/blob/memblob"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/artifactstest"
	"github.com/hexdag/hexdag/host/ports/artifacts/blobartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/leaselock"
	"github.com/hexdag/hexdag/host/ports/artifacts/natsartifacts"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
)

func TestMain(m *testing.M) {
	// nats.go has one for each connection that published, which nothing ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats.go/jetstream.(*jetStream).resetPendingAcksOnReconnect"))
}

// processes returns the locks of n processes, over one set of leases.
func processes(t *testing.T, n int) []*leaselock.Lock {
	t.Helper()
	locks := lock.New(memlock.New(), lock.Options{})
	t.Cleanup(func() { locks.Close() })
	var all []*leaselock.Lock
	for range n {
		all = append(all, leaselock.New(func() *lock.Locks { return locks }, "x"))
	}
	return all
}

// TestExclusion: one alone, or any number that share, with more processes than may share at once.
func TestExclusion(t *testing.T) {
	var holders, alone atomic.Int32
	var most atomic.Int32
	var wg sync.WaitGroup
	for p, l := range processes(t, 10) {
		for g := range 3 {
			wg.Go(func() {
				for range 20 {
					exclusive := p < 2 && g == 0
					unlock, err := l.Lock(t.Context(), exclusive)
					if err != nil {
						t.Error(err)
						return
					}
					n := holders.Add(1)
					if exclusive {
						alone.Add(1)
					}
					if x := alone.Load(); x > 1 || x == 1 && n != 1 {
						t.Errorf("%d holders, %d of them alone", n, x)
					}
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					time.Sleep(time.Millisecond)
					if exclusive {
						alone.Add(-1)
					}
					holders.Add(-1)
					unlock()
				}
			})
		}
	}
	wg.Wait()
	if most.Load() < 4 {
		t.Errorf("at most %d shared", most.Load())
	}
}

// TestAloneGetsItsTurn though others share without a break.
func TestAloneGetsItsTurn(t *testing.T) {
	all := processes(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if unlock, err := all[0].Lock(ctx, false); err == nil {
					time.Sleep(5 * time.Millisecond)
					unlock()
				}
			}
		})
	}
	time.Sleep(20 * time.Millisecond)
	for range 2 {
		within, stop := context.WithTimeout(t.Context(), time.Minute)
		unlock, err := all[1].Lock(within, true)
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		stop()
	}
	cancel()
	wg.Wait()
}

// TestGivesUp: who waits does so no longer than its context, and takes nobody else with it.
func TestGivesUp(t *testing.T) {
	all := processes(t, 2)
	unlock, err := all[0].Lock(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	joined := make(chan error, 1)
	var first sync.WaitGroup
	first.Go(func() {
		if _, err := all[1].Lock(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
	go func() {
		time.Sleep(10 * time.Millisecond) // joins the first, which gives up
		unlock, err := all[1].Lock(t.Context(), false)
		if err == nil {
			unlock()
		}
		joined <- err
	}()
	if _, err := all[1].Lock(ctx, true); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	first.Wait()
	unlock()
	if err := <-joined; err != nil {
		t.Error(err)
	}
}

// inTurn is a bucket of two processes: it locks through one, then through the other.
type inTurn struct {
	driver.Bucket
	second driver.Bucket
	locks  atomic.Int64
}

func (b *inTurn) Lock(ctx context.Context, exclusive bool) (func(), error) {
	if b.locks.Add(1)%2 == 0 {
		return b.second.Lock(ctx, exclusive)
	}
	return b.Bucket.Lock(ctx, exclusive)
}

// TestConformance runs the suite on a bucket of an object store that two processes share.
func TestConformance(t *testing.T) {
	artifactstest.RunConformanceTests(t, func(t *testing.T) driver.Bucket {
		bucket, all := memblob.OpenBucket(nil), processes(t, 2)
		t.Cleanup(func() { bucket.Close() })
		return &inTurn{Bucket: blobartifacts.NewBucket(bucket, blobartifacts.Options{Lock: all[0].Lock}), second: blobartifacts.NewBucket(bucket, blobartifacts.Options{Lock: all[1].Lock})}
	})
}

// TestOnNATS has two processes store, delete and collect at once in one bucket, with leases of the
// same server: nothing that is there loses its content, and together they keep the quota.
func TestOnNATS(t *testing.T) {
	server := natsservertest.Embedded(t, false)
	const each, quota = 1000, 20_000
	var stores []*artifacts.Store
	var buckets []driver.Bucket
	for range 2 {
		leases, err := natslock.Open(t.Context(), server.JetStream(), natslock.Config{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		locks := lock.New(leases, lock.Options{})
		t.Cleanup(func() { locks.Close() })
		b, err := natsartifacts.NewBucket(t.Context(), server.JetStream(), natsartifacts.Options{TempDir: t.TempDir(), Lock: leaselock.New(func() *lock.Locks { return locks }, "x").Lock})
		if err != nil {
			t.Fatal(err)
		}
		buckets, stores = append(buckets, b), append(stores, artifacts.New(b, artifacts.Options{TenantBytes: quota, Shared: true, Serial: true}))
	}
	var stored, refused atomic.Int32
	var wg sync.WaitGroup
	for p, s := range stores {
		for g := range 2 {
			wg.Go(func() {
				for i := range 10 {
					data := fmt.Sprint(p, g, i) + strings.Repeat(".", each)
					a, err := s.Store(t.Context(), "run", "x", strings.NewReader(data), artifacts.StoreOptions{})
					switch {
					case kernel.CodeOf(err) == kernel.CodeLimit:
						refused.Add(1)
						continue
					case err != nil:
						t.Error(err)
						continue
					}
					stored.Add(1)
					if i == 0 {
						if err := stores[1-p].Delete(t.Context(), a.ID); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		wg.Go(func() {
			if _, err := s.Collect(t.Context(), artifacts.CollectOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, counted := artifactstest.Markers(t, buckets[0]); counted > quota || stored.Load() < 10 || refused.Load() < 10 {
		t.Errorf("%d were stored and %d refused; counted are %d bytes", stored.Load(), refused.Load(), counted)
	}
	err := stores[0].Verify(t.Context(), func(_ *artifacts.Artifact, problem error) error { return problem })
	if err != nil {
		t.Error(err)
	}
}
