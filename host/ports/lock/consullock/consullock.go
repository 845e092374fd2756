// Package consullock keeps locks in Consul: a key for each permit, which a session of Consul's holds.
//
// It uses sessions and keys directly and not the client's Lock, which notices for minutes not
// that the lock is lost when the network is cut (Consul issue 18271): here the holder's own clock decides.
// The fence is the index at which the key was acquired.
package consullock

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

const maxPermits = 256

// shortest and MaxTTL are the TTLs that a session may have.
const (
	shortest = 10 * time.Second
	MaxTTL   = 24 * time.Hour
)

// A session is this part longer than the permit's TTL: its time begins before.
const slackPart = 8

// undoTime is how long taking back may take once the context has ended.
const undoTime = 5 * time.Second

// Config says where the locks are. The JSON form is what an operator configures.
type Config struct {
	Address string `json:"address"` // http://host:8500, of an agent
	Token   string `json:"token"`
	Prefix  string `json:"prefix"` // of keys; hexdag/locks
}

// Store is a driver.Store over Consul.
type Store struct {
	client   *api.Client
	pool     *http.Transport
	prefix   string
	issuer   string
	shortest time.Duration
	closed   atomic.Bool
}

var _ driver.Store = (*Store)(nil)

// Open connects. The error has CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	pool := http.DefaultTransport.(*http.Transport).Clone()
	client, err := api.NewClient(&api.Config{Address: c.Address, Token: c.Token, Transport: pool, HttpClient: &http.Client{Transport: pool}})
	if c.Address == "" {
		err = errors.New("address is not set")
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the locks' Consul cannot be used", Why: kernel.Quote(err.Error()), Fix: "set address to http://host:8500"}
	}
	s := &Store{client: client, pool: pool, prefix: strings.Trim(cmp.Or(c.Prefix, "hexdag/locks"), "/") + "/", shortest: shortest}
	s.issuer = "consul-" + s.prefix
	if _, _, err := client.KV().Keys(s.prefix, "", s.read(ctx)); err != nil {
		return nil, s.failed(ctx, err)
	}
	return s, nil
}

// Promises implements driver.Store.
func (s *Store) Promises() driver.Promises {
	return driver.Promises{
		Issuer: s.issuer, Scope: "cluster", Quorum: true, Durable: true, MinTTL: s.shortest, MaxTTL: MaxTTL, MaxPermits: maxPermits,
		Caveat: "Tested against a server that we wrote from Consul's documentation; a session ends up to a TTL late, and lasts a day at most.",
	}
}

// read and write are the options of a call. Reads are of the leader that has asked the others.
func (s *Store) read(ctx context.Context) *api.QueryOptions {
	return (&api.QueryOptions{RequireConsistent: true}).WithContext(ctx)
}

func (s *Store) write(ctx context.Context) *api.WriteOptions {
	return (&api.WriteOptions{}).WithContext(ctx)
}

func (s *Store) key(k driver.Key, permit int) string {
	return s.prefix + driver.Escape(k.Tenant) + "/" + driver.Escape(k.Name) + "/" + strconv.Itoa(permit)
}

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	h := &held{store: s, request: r, ttl: min(max(r.TTL+r.TTL/slackPart, s.shortest), MaxTTL)}
	got, err := driver.Poll(ctx, r, nil, h.acquire)
	if err == nil && time.Since(h.From()) > h.ttl-r.TTL { // the permit's time begins when it is had
		err = h.Renew(ctx)
	}
	if err != nil {
		h.undo(ctx)
		return nil, err
	}
	return got, nil
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	tenants := s.prefix + driver.Escape(tenant) + "/"
	prefix := tenants
	if name != "" {
		prefix += driver.Escape(name) + "/"
	}
	pairs, _, err := s.client.KV().List(prefix, s.read(ctx))
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	var list []driver.Holder
	for _, p := range pairs {
		if p.Session == "" {
			continue
		}
		segment, _, _ := strings.Cut(strings.TrimPrefix(p.Key, tenants), "/")
		note := driver.ReadNote(p.Value)
		ttl := max(time.Duration(note.TTL)*time.Millisecond, s.shortest) // Consul does not say how much of it is left
		list = append(list, driver.Holder{Key: driver.Key{Tenant: tenant, Name: driver.Unescape(segment)}, Owner: note.Owner, Fence: p.ModifyIndex, Permits: note.Permits, Left: ttl})
	}
	return driver.Sorted(list, limit), nil
}

// Close implements driver.Store.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.pool.CloseIdleConnections()
	return nil
}

var errClosed = errors.New("the store is closed")

// failed gives an error of the client its code.
func (s *Store) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' Consul does not answer", Why: kernel.Quote(err.Error()), Fix: "start the agent, or correct address and token", Err: err}
}

// held is a permit: a key that a session of its own holds.
type held struct {
	store   *Store
	request *driver.Request
	ttl     time.Duration
	session string // "" before the first attempt
	key     string
	fence   uint64

	mu   sync.Mutex
	from time.Time
}

var _ driver.Held = (*held)(nil)

// acquire tries once: those permits that seem to be free, the first before the others, so that another number of permits shows.
func (h *held) acquire(ctx context.Context) (driver.Held, error) {
	kv := h.store.client.KV()
	pairs, _, err := kv.List(strings.TrimSuffix(h.store.key(h.request.Key, 0), "0"), h.store.read(ctx))
	if err != nil {
		return nil, h.store.failed(ctx, err)
	}
	taken := map[string]bool{}
	for _, p := range pairs {
		if p.Session != "" && driver.ReadNote(p.Value).Permits != h.request.Permits {
			return nil, driver.ErrPermits
		}
		taken[p.Key] = p.Session != ""
	}
	for _, permit := range append([]int{0}, rand.Perm(h.request.Permits)...) {
		key := h.store.key(h.request.Key, permit)
		if taken[key] {
			continue
		}
		if ok, err := h.take(ctx, key); ok || err != nil {
			return h, err
		}
		taken[key] = true
	}
	return nil, driver.ErrHeld
}

// take has the session acquire a key.
func (h *held) take(ctx context.Context, key string) (bool, error) {
	if err := h.begin(ctx); err != nil {
		return false, err
	}
	kv := h.store.client.KV()
	ok, _, err := kv.Acquire(&api.KVPair{Key: key, Value: h.request.Encode(""), Session: h.session}, h.store.write(ctx))
	if err != nil || !ok {
		if err != nil {
			err = h.store.failed(ctx, err)
		}
		return false, err
	}
	h.key = key
	pair, err := h.pair(ctx)
	if err != nil {
		return false, err
	}
	h.fence = pair.ModifyIndex
	return true, nil
}

// begin makes the session, or renews it if it has waited. Its lock-delay, which keeps a lock from the next one after a session
// has ended, is the shortest that the client can say: the fence is there for that.
func (h *held) begin(ctx context.Context) error {
	if h.session != "" && h.Renew(ctx) == nil {
		return nil
	}
	h.from = time.Now()
	id, _, err := h.store.client.Session().CreateNoChecks(&api.SessionEntry{Name: "hexdag", TTL: h.ttl.String(), Behavior: api.SessionBehaviorDelete, LockDelay: time.Millisecond}, h.store.write(ctx))
	if err != nil {
		return h.store.failed(ctx, err)
	}
	h.session = id
	return nil
}

// pair returns the key, or ErrLost if the session does not hold it.
func (h *held) pair(ctx context.Context) (*api.KVPair, error) {
	pair, _, err := h.store.client.KV().Get(h.key, h.store.read(ctx))
	switch {
	case err != nil:
		return nil, h.store.failed(ctx, err)
	case pair == nil || pair.Session != h.session:
		return nil, driver.ErrLost
	}
	return pair, nil
}

// undo takes back what an Acquire that failed may have left.
func (h *held) undo(ctx context.Context) {
	if h.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	_, _ = h.store.client.Session().Destroy(h.session, h.store.write(ctx)) // what is not destroyed ends with its TTL
}

// Fence implements driver.Held.
func (h *held) Fence() uint64 { return h.fence }

// From implements driver.Held.
func (h *held) From() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.from
}

// Renew implements driver.Held.
func (h *held) Renew(ctx context.Context) error {
	if h.store.closed.Load() {
		return errClosed
	}
	from := time.Now()
	entry, _, err := h.store.client.Session().Renew(h.session, h.store.write(ctx))
	switch {
	case err != nil:
		return h.store.failed(ctx, err)
	case entry == nil:
		return driver.ErrLost
	}
	if h.key != "" { // a session outlives a key that somebody deleted
		if _, err := h.pair(ctx); err != nil {
			return err
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
	return nil
}

// Release implements driver.Held. The key is deleted if the session holds it, at once; a session that ends while it
// holds a key would keep the next one waiting.
func (h *held) Release(ctx context.Context) error {
	if h.store.closed.Load() {
		return errClosed
	}
	ok, _, _, err := h.store.client.Txn().Txn(api.TxnOps{
		{KV: &api.KVTxnOp{Verb: api.KVCheckSession, Key: h.key, Session: h.session}},
		{KV: &api.KVTxnOp{Verb: api.KVDelete, Key: h.key}},
	}, h.store.read(ctx))
	if err != nil {
		return h.store.failed(ctx, err)
	}
	h.undo(ctx)
	if !ok {
		return driver.ErrLost
	}
	return nil
}
