// Package redisstore keeps the memory port's values in Redis, or what speaks its protocol
// and runs its scripts. Several hosts may share it; every method is one command, or one
// script, which Redis runs alone.
//
// What Redis acknowledged is as safe as its configuration makes it: with appendonly and
// appendfsync always it survives a crash of Redis, with everysec the last second may not.
// A replica that takes over may lack the last writes.
package redisstore

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// never is when an entry without time expires: behind every time.
const never = "9999999999999999999"

// Config says where Redis is.
type Config struct {
	URL           string `json:"url"`            // redis://[user:password@]host:port/db, or rediss:// for TLS
	Prefix        string `json:"prefix"`         // of every key; "hexdag:memory:" if empty
	AllowEviction bool   `json:"allow_eviction"` // use a Redis that drops keys when its memory is full
}

// The client prints to standard error what it also returns. A program that wants that
// calls redis.SetLogger itself, which is later than this.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

type store struct {
	client *redis.Client
	prefix string
}

// Open connects to Redis. What is wrong with the configuration is CodeConfig, a Redis
// that does not answer CodeUnavailable.
func Open(ctx context.Context, cfg Config) (driver.Store, error) {
	if cfg.URL == "" {
		return nil, configError(nil, "url is missing")
	}
	opts, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, configError(nil, "url cannot be read") // the error would show a password
	}
	if cfg.Prefix == "" {
		cfg.Prefix = "hexdag:memory:"
	}
	opts.MaxRetries, opts.DialerRetries = -1, 1 // a store tries once
	opts.ContextTimeoutEnabled = true
	s := &store{client: redis.NewClient(opts), prefix: cfg.Prefix}
	if err := s.check(ctx, cfg); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func configError(cause error, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the redis memory's configuration: " + fmt.Sprintf(format, args...), Fix: "write url: redis://host:6379/0", Err: cause}
}

// check refuses a Redis that would drop what it acknowledged.
func (s *store) check(ctx context.Context, cfg Config) error {
	info, err := s.client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return storeError(err)
	}
	memory := info["Memory"]
	policy := memory["maxmemory_policy"]
	if limit := memory["maxmemory"]; !cfg.AllowEviction && limit != "" && limit != "0" && policy != "" && policy != "noeviction" {
		return &kernel.Error{Code: kernel.CodeConfig, What: "this Redis drops keys when its memory is full", Why: "its maxmemory-policy is " + kernel.Quote(policy),
			Fix: "set it to noeviction, or say allow_eviction: true where what is remembered may be lost"}
	}
	return nil
}

// keys are those of a tenant; what is in braces puts them in one slot of a cluster.
func (s *store) keys(tenant string) []string {
	base := s.prefix + "{t" + hex.EncodeToString([]byte(tenant)) + "}:"
	return []string{base + "v", base + "k", base + "x", base + "b"}
}

// stamp writes a time so that texts compare as times do.
func stamp(t time.Time) string { return fmt.Sprintf("%019d", max(0, t.UnixNano())) }

func milliseconds(t time.Time) string { return strconv.FormatInt(max(0, t.UnixMilli()), 10) }

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, now time.Time, tenant, key string) ([]byte, bool, error) {
	entry, err := s.client.HGet(ctx, s.keys(tenant)[0], key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, storeError(err)
	}
	if len(entry) < len(never) {
		return nil, false, &kernel.Error{Code: kernel.CodeUnavailable, What: "the memory's Redis holds what is not the memory's", Fix: "give the memory a prefix of its own"}
	}
	if string(entry[:len(never)]) <= stamp(now) {
		return nil, false, nil
	}
	return entry[len(never):], true, nil
}

var conditions = map[driver.Condition]string{driver.Always: "always", driver.IfAbsent: "absent", driver.IfEqual: "equal"}

// Put implements driver.Store.
func (s *store) Put(ctx context.Context, now time.Time, tenant string, p *driver.Put) (bool, error) {
	expires, score := never, "0"
	if !p.Expires.IsZero() {
		expires, score = stamp(p.Expires), milliseconds(p.Expires)
	}
	done, err := putScript.Run(ctx, s.client, s.keys(tenant), p.Key, p.Value, expires, score, stamp(now), milliseconds(now),
		conditions[p.If], p.Expected, p.Room.Keys, p.Room.Bytes, never).Int()
	if err == nil && done < 0 {
		return false, driver.ErrFull
	}
	return done == 1, storeError(err)
}

// Delete implements driver.Store.
func (s *store) Delete(ctx context.Context, now time.Time, tenant, key string) (bool, error) {
	found, err := deleteScript.Run(ctx, s.client, s.keys(tenant), key, stamp(now)).Int()
	return found == 1, storeError(err)
}

// List implements driver.Store.
func (s *store) List(ctx context.Context, now time.Time, tenant, prefix, after string, limit int) ([]string, error) {
	return s.scan(ctx, now, tenant, prefix, after, limit, 0)
}

// Entries implements driver.Store.
func (s *store) Entries(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]driver.Entry, error) {
	found, err := s.scan(ctx, now, tenant, prefix, after, limit, max(bytes, 1))
	if err != nil {
		return nil, err
	}
	entries := make([]driver.Entry, len(found)/2)
	for i := range entries {
		entries[i] = driver.Entry{Key: found[2*i], Value: []byte(found[2*i+1])}
	}
	return entries, nil
}

func (s *store) scan(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]string, error) {
	from, to := "["+prefix, "("+prefix+"\xff" // which no text holds
	if prefix == "" {
		from, to = "-", "+"
	}
	if after >= prefix && after != "" {
		from = "(" + after
	}
	if limit < 1 || after > prefix && !strings.HasPrefix(after, prefix) {
		return nil, nil
	}
	found, err := listScript.Run(ctx, s.client, s.keys(tenant), from, to, limit, stamp(now), milliseconds(now), bytes).StringSlice()
	return found, storeError(err)
}

// Close implements driver.Store.
func (s *store) Close() error { return s.client.Close() }

// storeError gives an error of Redis its code. Its words are Redis's own, without values.
func storeError(err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	failed := &kernel.Error{Code: kernel.CodeUnavailable, What: "the memory's Redis cannot be reached", Fix: "check that it runs", Err: err}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return failed
	}
	kind, _, _ := strings.Cut(answer.Error(), " ")
	failed.What, failed.Why, failed.Fix = "the memory's Redis refused the call", kernel.Quote(kind), ""
	switch kind {
	case "LOADING", "BUSY", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "UNKILLABLE":
		failed.Code = kernel.CodeRetry
	case "OOM":
		failed.Why, failed.Fix = "its memory is full", "give it more, or delete keys"
	case "READONLY":
		failed.Why, failed.Fix = "it is a replica", "name the primary"
	case "NOAUTH", "WRONGPASS", "NOPERM":
		failed.Fix = "correct the user and the password of url, and what the user may do"
	case "MISCONF":
		failed.Why, failed.Fix = "it cannot write to its disk", "make room there"
	}
	return failed
}
