// Package redislock keeps locks in one Redis, for efficiency: so that work is mostly not done
// twice. It is no more than that where Redis fails over to a replica, or restarts without
// what it had: then two may hold a lock. Fences still rise, as long as the server's clock
// does not go back by more than it was down, and resources refuse the earlier holder.
//
// A lock is a sorted set of its permits by when they end; a hash has their notes, and the number of
// permits and the last fence. Each change is one script, on the server's clock.
package redislock

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

const maxPermits = 10_000

// Config says where the locks are. The JSON form is what an operator configures.
type Config struct {
	URL    string `json:"url"`    // redis://user:password@host:6379/0, or rediss:// for TLS
	Prefix string `json:"prefix"` // of keys; hexdag:lock
}

// Store is a driver.Store over a Redis.
type Store struct {
	client *redis.Client
	prefix string
}

var _ driver.Store = (*Store)(nil)

// Open connects. The error has CodeConfig or CodeUnavailable.
func Open(ctx context.Context, c Config) (*Store, error) {
	bad := func(why string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the locks' Redis cannot be used", Why: why, Fix: "set url to redis://user:password@host:6379/0"}
	}
	if c.URL == "" {
		return nil, bad("url is not set")
	}
	opts, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, bad("url is not one of Redis's") // what the client says may hold the password
	}
	// A command that got no answer may have been done: what to do then is the driver's to say.
	opts.MaxRetries, opts.DialerRetries, opts.ContextTimeoutEnabled, opts.ClientName = -1, 1, true, "hexdag-locks"
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if c.Prefix == "" {
		c.Prefix = "hexdag:lock"
	}
	s := &Store{client: redis.NewClient(opts), prefix: c.Prefix}
	if err := s.client.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(s.failed(ctx, err), s.client.Close())
	}
	return s, nil
}

// Promises implements driver.Store.
func (s *Store) Promises() driver.Promises {
	return driver.Promises{
		Issuer: "redis-" + s.prefix, Scope: "server", MinTTL: time.Millisecond, MaxPermits: maxPermits,
		Caveat: "For efficiency only: a failover or a restart gives a lock away that is held.",
	}
}

// clock is at the head of every script: the server's time in microseconds, and the permits without those that have ended.
const clock = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], 'note:' .. id, 'fence:' .. id)
end
`

// Numbers of 16 digits are exact in Lua's floats; %.0f writes them out.
var (
	acquireScript = redis.NewScript(clock + `
local permits = tonumber(ARGV[3])
local held = redis.call('ZCARD', KEYS[1])
if held > 0 and redis.call('HGET', KEYS[2], 'permits') ~= ARGV[3] then return {'permits', '0'} end
if held >= permits then
  return {'held', string.format('%.0f', tonumber(redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]) - now)}
end
local fence = math.max(now, tonumber(redis.call('GET', KEYS[3]) or '0') + 1)
local text = string.format('%.0f', fence)
redis.call('SET', KEYS[3], text)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[2], 'note:' .. ARGV[1], ARGV[4], 'fence:' .. ARGV[1], text, 'permits', ARGV[3])
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
local ms = math.ceil((last - now) / 1000) + 1000
redis.call('PEXPIRE', KEYS[1], ms)
redis.call('PEXPIRE', KEYS[2], ms)
return {'ok', text}
`)
	renewScript = redis.NewScript(clock + `
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local last = tonumber(redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2])
local ms = math.ceil((last - now) / 1000) + 1000
redis.call('PEXPIRE', KEYS[1], ms)
redis.call('PEXPIRE', KEYS[2], ms)
return 1
`)
	releaseScript = redis.NewScript(clock + `
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[2], 'note:' .. ARGV[1], 'fence:' .. ARGV[1])
if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('DEL', KEYS[2]) end
return 1
`)
	holdersScript = redis.NewScript(clock + `
local list = {redis.call('HGET', KEYS[2], 'permits') or '1'}
local ids = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #ids, 2 do
  list[#list + 1] = redis.call('HGET', KEYS[2], 'fence:' .. ids[i]) or '0'
  list[#list + 1] = string.format('%.0f', tonumber(ids[i + 1]) - now)
  list[#list + 1] = redis.call('HGET', KEYS[2], 'note:' .. ids[i]) or ''
end
return list
`)
)

// lockKey is of a lock's set. A tenant and a name are segments of their own. All keys have one hash tag, so that
// a cluster keeps them on one node, and with it the one counter of fences.
func (s *Store) lockKey(tenant, name string) string {
	return "{" + s.prefix + "}:set:" + driver.Escape(tenant) + ":" + driver.Escape(name)
}

func (s *Store) keys(k driver.Key) []string {
	set := s.lockKey(k.Tenant, k.Name)
	return []string{set, strings.Replace(set, ":set:", ":notes:", 1), "{" + s.prefix + "}:fence"}
}

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	h := &held{store: s, request: r, keys: s.keys(r.Key), id: rand.Text()}
	note := r.Encode("")
	return driver.Poll(ctx, r, nil, func(ctx context.Context) (driver.Held, error) { return h.acquire(ctx, note) })
}

// Holders implements driver.Store.
func (s *Store) Holders(ctx context.Context, tenant, name string, limit int) ([]driver.Holder, error) {
	names := []string{name}
	if name == "" {
		var err error
		if names, err = s.names(ctx, tenant); err != nil {
			return nil, err
		}
	}
	var list []driver.Holder
	for _, name := range names {
		if len(list) >= limit {
			break
		}
		key := driver.Key{Tenant: tenant, Name: name}
		texts, err := holdersScript.Run(ctx, s.client, s.keys(key)).StringSlice()
		if err != nil {
			return nil, s.failed(ctx, err)
		}
		permits, _ := strconv.Atoi(texts[0])
		for i := 1; i+2 < len(texts); i += 3 {
			fence, _ := strconv.ParseUint(texts[i], 10, 64)
			left, _ := strconv.ParseInt(texts[i+1], 10, 64)
			list = append(list, driver.Holder{Key: key, Owner: driver.ReadNote([]byte(texts[i+2])).Owner, Fence: fence, Permits: permits, Left: time.Duration(left) * time.Microsecond})
		}
	}
	return driver.Sorted(list, limit), nil
}

// names returns the names of a tenant's locks.
func (s *Store) names(ctx context.Context, tenant string) ([]string, error) {
	prefix := s.lockKey(tenant, "")
	prefix = prefix[:len(prefix)-1] // the empty name's sign
	seen := map[string]bool{}
	scan := s.client.Scan(ctx, 0, globEscape(prefix)+"*", 1000).Iterator()
	var names []string
	for scan.Next(ctx) {
		name := driver.Unescape(strings.TrimPrefix(scan.Val(), prefix))
		if !seen[name] { // a scan may say a key twice
			seen[name] = true
			names = append(names, name)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, s.failed(ctx, err)
	}
	return names, nil
}

func globEscape(text string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`).Replace(text)
}

// Close implements driver.Store.
func (s *Store) Close() error {
	if err := s.client.Close(); !errors.Is(err, redis.ErrClosed) {
		return err
	}
	return nil
}

// failed gives an error of the client its code. The client's may hold an address, which is the operator's.
func (s *Store) failed(ctx context.Context, err error) error {
	var server redis.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &server):
		return errors.New("redis: " + server.Error())
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the locks' Redis cannot be reached", Why: "no connection", Fix: "start it, or correct url", Err: err}
}

// held is a permit.
type held struct {
	store   *Store
	request *driver.Request
	keys    []string
	id      string
	fence   uint64

	mu   sync.Mutex
	from time.Time
}

var _ driver.Held = (*held)(nil)

// acquire tries once.
func (h *held) acquire(ctx context.Context, note []byte) (driver.Held, error) {
	h.from = time.Now()
	answer, err := acquireScript.Run(ctx, h.store.client, h.keys, h.id, h.request.TTL.Microseconds(), h.request.Permits, note).StringSlice()
	if err != nil {
		return nil, h.store.failed(ctx, err)
	}
	switch answer[0] {
	case "ok":
		h.fence, err = strconv.ParseUint(answer[1], 10, 64)
		return h, err
	case "permits":
		return nil, driver.ErrPermits
	}
	after, err := strconv.ParseInt(answer[1], 10, 64)
	if err != nil {
		return nil, err
	}
	return nil, &driver.HeldError{After: time.Duration(after) * time.Microsecond}
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
	from := time.Now()
	if err := h.run(ctx, renewScript, h.id, h.request.TTL.Microseconds()); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
	return nil
}

// Release implements driver.Held.
func (h *held) Release(ctx context.Context) error { return h.run(ctx, releaseScript, h.id) }

// run changes the permit, or returns ErrLost.
func (h *held) run(ctx context.Context, script *redis.Script, args ...any) error {
	done, err := script.Run(ctx, h.store.client, h.keys, args...).Int()
	switch {
	case err != nil:
		return h.store.failed(ctx, err)
	case done == 0:
		return driver.ErrLost
	}
	return nil
}
