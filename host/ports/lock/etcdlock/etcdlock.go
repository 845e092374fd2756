// Package etcdlock keeps locks in etcd: a key for each who holds or waits for a permit, under a
// lease of etcd's. Those with the smallest creation revisions hold the permits, and the revision is
// the fence.
package etcdlock

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

const maxPermits = 1000

// Config says where the locks are. The JSON form is what an operator configures.
type Config struct {
	Endpoints []string `json:"endpoints"` // host:port, or https://host:port
	Prefix    string   `json:"prefix"`    // of keys; hexdag/locks
	Username  string   `json:"username"`
	Password  string   `json:"password"`
	CA        string   `json:"ca"` // a file of certificates in PEM that sign the servers'
}

// Store is a driver.Store over etcd.
type Store struct {
	client *clientv3.Client
	prefix string
	issuer string

	mu     sync.Mutex
	spares map[int64][]spare // by their seconds
	closed bool
}

// spare is a lease of etcd's with no key: to grant one is a round trip and a write of all servers.
type spare struct {
	id   clientv3.LeaseID
	from time.Time
}

var _ driver.Store = (*Store)(nil)

// connectTime is how long Open waits for a server.
const connectTime = 5 * time.Second

// Open connects. The error has CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	bad := func(why string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the locks' etcd cannot be used", Why: why, Fix: "set endpoints: [host:2379, ...]"}
	}
	if len(c.Endpoints) == 0 {
		return nil, bad("endpoints is empty")
	}
	config := clientv3.Config{Endpoints: c.Endpoints, Username: c.Username, Password: c.Password, DialTimeout: connectTime, DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, Logger: zap.NewNop()}
	if c.CA != "" {
		pem, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, bad(err.Error())
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, bad("ca holds no certificate")
		}
		config.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, bad(kernel.Quote(err.Error()))
	}
	s := &Store{client: client, prefix: strings.Trim(cmp.Or(c.Prefix, "hexdag/locks"), "/") + "/", spares: map[int64][]spare{}}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	answer, err := client.Get(ctx, s.prefix, clientv3.WithCountOnly())
	if err != nil {
		return nil, errors.Join(&kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' etcd cannot be reached", Why: kernel.Quote(err.Error()), Fix: "start it, or correct endpoints", Err: err}, client.Close())
	}
	s.issuer = fmt.Sprintf("etcd-%x", answer.Header.ClusterId)
	return s, nil
}

// Promises implements driver.Store.
func (s *Store) Promises() driver.Promises {
	return driver.Promises{
		Issuer: s.issuer, Scope: "cluster", Quorum: true, Fair: true, Durable: true, MinTTL: 2 * time.Second, MaxPermits: maxPermits,
		Caveat: "After a change of leader leases count anew, so that a lock may stay held for a TTL longer.",
	}
}

// folder is the prefix of a lock's keys.
func (s *Store) folder(tenant, name string) string {
	return s.prefix + driver.Escape(tenant) + "/" + driver.Escape(name) + "/"
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	folder := s.prefix + driver.Escape(tenant) + "/"
	if name != "" {
		folder = s.folder(tenant, name)
	}
	answer, err := s.client.Get(ctx, folder, clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend))
	if err != nil {
		return nil, failed(ctx, err)
	}
	var list []driver.Holder
	held := map[string]int{} // by name; those who come after are waiting
	for _, kv := range answer.Kvs {
		segment, _, _ := strings.Cut(strings.TrimPrefix(string(kv.Key), s.prefix+driver.Escape(tenant)+"/"), "/")
		note := driver.ReadNote(kv.Value)
		if held[segment]++; held[segment] > max(note.Permits, 1) || len(list) >= limit {
			continue
		}
		lease, err := s.client.TimeToLive(ctx, clientv3.LeaseID(kv.Lease))
		if err != nil {
			return nil, failed(ctx, err)
		}
		if lease.TTL > 0 {
			list = append(list, driver.Holder{Key: driver.Key{Tenant: tenant, Name: driver.Unescape(segment)}, Owner: note.Owner, Fence: uint64(kv.CreateRevision), Permits: note.Permits, Left: time.Duration(lease.TTL) * time.Second})
		}
	}
	return driver.Sorted(list, limit), nil
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	if err := s.client.Close(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// failed gives an error of the client its code.
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' etcd does not answer", Why: kernel.Quote(err.Error()), Fix: "see whether it has a majority of its servers", Err: err}
}
