package bench

import (
	"sync"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"golang.org/x/sync/semaphore"

	"github.com/hexdag/hexdag/host/natsserver/natsservertest"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/etcdlock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
	"github.com/hexdag/hexdag/host/ports/lock/postgreslock"
	"github.com/hexdag/hexdag/host/ports/lock/redislock"
	"github.com/hexdag/hexdag/host/testserver"
	"github.com/hexdag/hexdag/host/testserver/etcdserver"
)

// BenchmarkLock acquires a lock that nobody else wants, and releases it.
func BenchmarkLock(b *testing.B) {
	b.Run("memory-hexdag", func(b *testing.B) { lockHexdag(b, memlock.New(), nil) })
	b.Run("memory-mutex", func(b *testing.B) {
		var m sync.Mutex
		lockLoop(b, func() error { m.Lock(); return nil }, func() error { m.Unlock(); return nil })
	})
	b.Run("memory-semaphore", func(b *testing.B) {
		s := semaphore.NewWeighted(1)
		lockLoop(b, func() error { return s.Acquire(b.Context(), 1) }, func() error { s.Release(1); return nil })
	})
	b.Run("nats", lockNATS)
	b.Run("redis", lockRedis)
	b.Run("etcd", lockEtcd)
	b.Run("postgres", lockPostgres)
}

func lockLoop(b *testing.B, acquire, release func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := acquire(); err != nil {
			b.Fatal(err)
		}
		if err := release(); err != nil {
			b.Fatal(err)
		}
	}
}

func lockHexdag(b *testing.B, store driver.Store, err error) {
	must(b, err)
	locks := lock.New(store, lock.Options{})
	defer func() { must(b, locks.Close()) }()
	var lease *lock.Lease
	lockLoop(b, func() (err error) {
		lease, err = locks.Acquire(b.Context(), "acme", "orders", lock.Ask{})
		return err
	}, func() error { return lease.Release(b.Context()) })
}

// lockNATS is a server in the process that does not wait for the disk, so that what is measured is the lock.
func lockNATS(b *testing.B) {
	js := natsservertest.Embedded(b, false).JetStream()
	b.Run("hexdag", func(b *testing.B) {
		store, err := natslock.Open(b.Context(), js, natslock.Config{}, nil)
		lockHexdag(b, store, err)
	})
	b.Run("key-value", func(b *testing.B) {
		kv, err := js.CreateOrUpdateKeyValue(b.Context(), jetstream.KeyValueConfig{Bucket: "raw", Storage: jetstream.FileStorage, LimitMarkerTTL: time.Minute})
		must(b, err)
		var revision uint64
		lockLoop(b, func() (err error) {
			revision, err = kv.Create(b.Context(), "acme.orders", []byte(`{"owner":"me"}`), jetstream.KeyTTL(30*time.Second))
			return err
		}, func() error {
			return kv.Purge(b.Context(), "acme.orders", jetstream.LastRevision(revision), jetstream.PurgeTTL(time.Minute))
		})
	})
}

func lockRedis(b *testing.B) {
	address := testserver.Redis(b).Address()
	b.Run("hexdag", func(b *testing.B) {
		store, err := redislock.Open(b.Context(), redislock.Config{URL: "redis://" + address})
		lockHexdag(b, store, err)
	})
	b.Run("redsync", func(b *testing.B) {
		client := redis.NewClient(&redis.Options{Addr: address})
		defer client.Close()
		m := redsync.New(goredis.NewPool(client)).NewMutex("orders", redsync.WithExpiry(30*time.Second))
		lockLoop(b, func() error { return m.LockContext(b.Context()) }, func() error { _, err := m.UnlockContext(b.Context()); return err })
	})
}

func lockEtcd(b *testing.B) {
	endpoints := []string{etcdserver.Start(b, 1).Endpoint(0)}
	b.Run("hexdag", func(b *testing.B) {
		store, err := etcdlock.Open(b.Context(), etcdlock.Config{Endpoints: endpoints})
		lockHexdag(b, store, err)
	})
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints})
	must(b, err)
	b.Cleanup(func() { _ = client.Close() })
	b.Run("concurrency", func(b *testing.B) { // one session for all locks
		session, err := concurrency.NewSession(client, concurrency.WithTTL(30))
		must(b, err)
		defer session.Close()
		m := concurrency.NewMutex(session, "orders")
		lockLoop(b, func() error { return m.Lock(b.Context()) }, func() error { return m.Unlock(b.Context()) })
	})
	b.Run("concurrency-session-each", func(b *testing.B) { // that ends with the lock, as each of ours does
		var session *concurrency.Session
		lockLoop(b, func() (err error) {
			if session, err = concurrency.NewSession(client, concurrency.WithTTL(30)); err != nil {
				return err
			}
			return concurrency.NewMutex(session, "orders").Lock(b.Context())
		}, func() error { return session.Close() })
	})
}

func lockPostgres(b *testing.B) {
	_, url := testserver.Postgres(b)
	b.Run("hexdag", func(b *testing.B) {
		store, err := postgreslock.Open(b.Context(), postgreslock.Config{URL: url})
		lockHexdag(b, store, err)
	})
	b.Run("advisory", func(b *testing.B) { // no TTL, no token, and the connection is the lock's
		pool, err := pgxpool.New(b.Context(), url)
		must(b, err)
		defer pool.Close()
		conn, err := pool.Acquire(b.Context())
		must(b, err)
		defer conn.Release()
		lockLoop(b, func() error { _, err := conn.Exec(b.Context(), "SELECT pg_advisory_lock(7)"); return err }, func() error { _, err := conn.Exec(b.Context(), "SELECT pg_advisory_unlock(7)"); return err })
	})
}
