package middleware

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/hexdag/hexdag/host/kernel"
)

// cache is ResponseCache.
type cache struct {
	answers  *lru.Cache[key, answer]
	ttl      time.Duration // 0 is for ever
	maxBytes int
	methods  func(op string) bool // nil means what EffectOf says

	mu      sync.Mutex
	changes map[string]uint64 // by tenant: how many calls may have changed what answers say
}

// key is a tenant, and the digest of a call.
type key struct {
	tenant string
	call   [sha256.Size]byte
}

type answer struct {
	reply *kernel.PortReply
	since time.Time
}

func newCache(p *params) Middleware {
	c := &cache{
		ttl:      p.seconds("ttl", 0, time.Millisecond, 30*24*time.Hour),
		maxBytes: p.count("max_entry_bytes", 1<<20, 1, 64<<20),
		methods:  p.matcher("methods"),
		changes:  map[string]uint64{},
	}
	size := p.count("max_size", 128, 1, 100_000)
	answers, err := lru.New[key, answer](size)
	if err != nil {
		p.problem("", "%v", err)
	}
	c.answers = answers
	return c.wrap
}

func (c *cache) wrap(op string, next kernel.PortFunc) kernel.PortFunc {
	return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		effect := EffectOf(op, call.Args)
		keeps := effect == Cacheable
		if c.methods != nil {
			keeps = c.methods(op)
		}
		if !keeps {
			if effect != Cacheable {
				defer c.forget(tenantOf(ctx))
			}
			return next(ctx, call)
		}
		k, ok := keyOf(ctx, call, op, effect)
		if !ok {
			return next(ctx, call)
		}
		if kept, ok := c.answers.Get(k); ok && (c.ttl == 0 || time.Since(kept.since) < c.ttl) {
			return &kernel.PortReply{Value: kept.reply.Value, Body: slices.Clone(kept.reply.Body)}, nil
		}
		before := c.changesOf(k.tenant)
		reply, err := next(ctx, call)
		if err == nil {
			c.keep(k, reply, before)
		}
		return reply, err
	}
}

// keep keeps an answer, unless something was changed while it was given.
func (c *cache) keep(k key, reply *kernel.PortReply, before uint64) {
	text, err := kernel.EncodeJSON(reply.Value)
	if err != nil || len(text)+len(reply.Body) > c.maxBytes {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changes[k.tenant] == before {
		c.answers.Add(k, answer{&kernel.PortReply{Value: reply.Value, Body: slices.Clone(reply.Body)}, time.Now()})
	}
}

func (c *cache) changesOf(tenant string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes[tenant]
}

// forget drops a tenant's answers.
func (c *cache) forget(tenant string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes[tenant]++
	for _, k := range c.answers.Keys() {
		if k.tenant == tenant {
			c.answers.Remove(k)
		}
	}
}

func tenantOf(ctx context.Context) string {
	if run := kernel.RunFrom(ctx); run != nil {
		return run.Tenant
	}
	return ""
}

// keyOf returns the key of a call: the operation, its arguments and body, and for an
// answer that may be the run's alone, the run. A call whose arguments are no
// JSON has none, nor one outside a run, whose tenant nobody knows.
func keyOf(ctx context.Context, call *kernel.PortCall, op string, effect Effect) (key, bool) {
	run := kernel.RunFrom(ctx)
	args, err := kernel.EncodeJSON(call.Args)
	if run == nil || err != nil {
		return key{}, false
	}
	scope := ""
	if effect != Cacheable {
		scope = run.RunID
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(op), []byte(scope), args, call.Body} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	k := key{tenant: run.Tenant}
	h.Sum(k.call[:0])
	return k, true
}
