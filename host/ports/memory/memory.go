// Package memory is the port to what runs remember: JSON values by key. hexDAG
// calls it Memory, and DataStore. Backends are the packages below this one; they
// implement package driver. memstore keeps values in this process, sqlitestore in a
// file, redisstore in Redis.
//
// Every tenant has keys of its own and cannot tell whether another has any. A
// key is 1 to MaxKeyBytes bytes of printable characters. A value is kept as
// [kernel.EncodeJSON] writes it: members sorted, numbers as they are, so that
// 1 and 1.0 are two values.
package memory

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// Options limits what tenants keep. A zero stands for the default. The JSON
// form is what an operator configures.
type Options struct {
	MaxKeyBytes   int   `json:"max_key_bytes"`   // 512, at most 1024
	MaxValueBytes int   `json:"max_value_bytes"` // as JSON; 256 KiB
	MaxKeys       int   `json:"max_keys"`        // of one tenant; 10,000
	MaxBytes      int64 `json:"max_bytes"`       // of one tenant's keys and values together; 64 MiB

	Now func() time.Time `json:"-"` // time.Now, if nil
}

// maxKeyBytes is what the door matches against patterns.
const maxKeyBytes = 1 << 10

// MaxTTL is how long an entry that expires is kept at most.
const MaxTTL = 10 * 365 * 24 * time.Hour

// maxSwaps bounds how often a swap is tried whose value stays what is expected while
// its labels change.
const maxSwaps = 8

// Check returns a CodeConfig error for limits that cannot be.
func (o Options) Check() error {
	if o.MaxKeyBytes < 0 || o.MaxKeyBytes > maxKeyBytes || o.MaxValueBytes < 0 || o.MaxKeys < 0 || o.MaxBytes < 0 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the memory's limits cannot be used", Why: fmt.Sprintf("they are positive, and max_key_bytes is at most %d", maxKeyBytes), Fix: "leave them out for the defaults"}
	}
	return nil
}

func (o Options) orDefault() Options {
	for _, limit := range []struct {
		value  *int
		orElse int
	}{{&o.MaxKeyBytes, 512}, {&o.MaxValueBytes, 256 << 10}, {&o.MaxKeys, 10_000}} {
		if *limit.value == 0 {
			*limit.value = limit.orElse
		}
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Memory keeps values in a store. It may be used by several goroutines. Errors
// are *kernel.Error: CodeArguments for a key, a value or a time that cannot be,
// CodeLimit for what is too large or one too many, and those of [driver.Store].
type Memory struct {
	store driver.Store
	opts  Options
}

// New returns the memory over a store. Closing it closes the store.
func New(store driver.Store, opts Options) *Memory {
	return &Memory{store: store, opts: opts.orDefault()}
}

// Close releases what the backend holds.
func (m *Memory) Close() error { return m.store.Close() }

// Get returns the value of a key, and whether there is one.
func (m *Memory) Get(ctx context.Context, tenant, key string) (kernel.Value, bool, error) {
	if err := m.checkKey(key); err != nil {
		return nil, false, err
	}
	text, found, err := m.store.Get(ctx, m.opts.Now(), tenant, key)
	if err != nil || !found {
		return nil, false, m.failed(ctx, err)
	}
	value, err := kernel.DecodeJSON(text)
	if err == nil {
		value, err = plain(ctx, value)
	}
	if err != nil {
		return nil, false, damaged(key, err)
	}
	return value, true, nil
}

// Now returns the time by which entries end: that of this process.
func (m *Memory) Now(ctx context.Context) (time.Time, error) { return m.opts.Now(), ctx.Err() }

// Exists reports whether a key has a value.
func (m *Memory) Exists(ctx context.Context, tenant, key string) (bool, error) {
	if err := m.checkKey(key); err != nil {
		return false, err
	}
	_, found, err := m.store.Get(ctx, m.opts.Now(), tenant, key)
	return found, m.failed(ctx, err)
}

// Set keeps a value in place of the key's, for ttl, or for ever if that is 0.
func (m *Memory) Set(ctx context.Context, tenant, key string, value kernel.Value, ttl time.Duration) error {
	_, err := m.put(ctx, tenant, key, value, ttl, driver.Put{})
	return err
}

// Create is Set for a key without value; it reports whether it had none.
func (m *Memory) Create(ctx context.Context, tenant, key string, value kernel.Value, ttl time.Duration) (bool, error) {
	return m.put(ctx, tenant, key, value, ttl, driver.Put{If: driver.IfAbsent})
}

// CompareAndSwap is Set for a key that has the value expected; it reports
// whether it had.
func (m *Memory) CompareAndSwap(ctx context.Context, tenant, key string, expected, value kernel.Value, ttl time.Duration) (bool, error) {
	text, err := m.encode("expected", expected)
	if err != nil {
		return false, err
	}
	swapped, err := m.put(ctx, tenant, key, value, ttl, driver.Put{If: driver.IfEqual, Expected: text})
	for tries := 0; err == nil && !swapped && tries < maxSwaps; tries++ {
		labelled, kerr := m.kept(ctx, tenant, key, text)
		if kerr != nil || labelled == nil {
			return false, kerr
		}
		swapped, err = m.put(ctx, tenant, key, value, ttl, driver.Put{If: driver.IfEqual, Expected: labelled})
	}
	return swapped, err
}

func (m *Memory) put(ctx context.Context, tenant, key string, value kernel.Value, ttl time.Duration, p driver.Put) (bool, error) {
	if err := m.checkKey(key); err != nil {
		return false, err
	}
	text, err := m.encode("value", value)
	if err != nil {
		return false, err
	}
	if text, err = labelled(ctx, value, text); err != nil {
		return false, argument("the value is no JSON", err.Error())
	}
	if ttl < 0 || ttl > MaxTTL {
		return false, argument(fmt.Sprintf("ttl is %s", ttl), fmt.Sprintf("it is at most %s", MaxTTL))
	}
	now := m.opts.Now()
	p.Key, p.Value, p.Room = key, text, driver.Room{Keys: m.opts.MaxKeys, Bytes: m.opts.MaxBytes}
	if ttl > 0 {
		p.Expires = now.Add(ttl)
	}
	done, err := m.store.Put(ctx, now, tenant, &p)
	return done, m.failed(ctx, err)
}

// Delete removes a key and reports whether it was there.
func (m *Memory) Delete(ctx context.Context, tenant, key string) (bool, error) {
	if err := m.checkKey(key); err != nil {
		return false, err
	}
	found, err := m.store.Delete(ctx, m.opts.Now(), tenant, key)
	return found, m.failed(ctx, err)
}

// ListKeys returns at most limit of the keys that begin with prefix, sorted,
// beginning behind the key after ("" is the start). Fewer than limit are the last.
func (m *Memory) ListKeys(ctx context.Context, tenant, prefix, after string, limit int) ([]string, error) {
	for _, text := range []string{prefix, after} {
		if text != "" {
			if err := m.checkKey(text); err != nil {
				return nil, err
			}
		}
	}
	keys, err := m.store.List(ctx, m.opts.Now(), tenant, prefix, after, limit)
	return keys, m.failed(ctx, err)
}

func (m *Memory) checkKey(key string) error {
	switch {
	case key == "":
		return argument("the key is empty", "it has at least one character")
	case len(key) > m.opts.MaxKeyBytes:
		return &kernel.Error{Code: kernel.CodeLimit, What: "memory: the key is too long", Why: fmt.Sprintf("it has %d bytes, max_key_bytes is %d", len(key), m.opts.MaxKeyBytes), Fix: "use a shorter key"}
	case !utf8.ValidString(key):
		return argument("the key "+kernel.Quote(key)+" is no text", "it is not valid UTF-8")
	}
	for _, r := range key {
		if !unicode.IsPrint(r) {
			return argument("the key "+kernel.Quote(key)+" cannot be used", "its characters are printable")
		}
	}
	return nil
}

func (m *Memory) encode(what string, value kernel.Value) ([]byte, error) {
	text, err := kernel.EncodeJSON(value)
	if err != nil {
		return nil, argument("the "+what+" is no JSON", err.Error())
	}
	if len(text) > m.opts.MaxValueBytes {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "memory: the " + what + " is too large", Why: fmt.Sprintf("it has %d bytes as JSON, max_value_bytes is %d", len(text), m.opts.MaxValueBytes), Fix: "keep it as an artifact, and its id here"}
	}
	return text, nil
}

func argument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "memory: " + what, Why: why}
}

// failed gives a store's error a code. The context's end wins over what the
// store made of it.
func (m *Memory) failed(ctx context.Context, err error) error {
	var known *kernel.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, driver.ErrFull):
		return &kernel.Error{Code: kernel.CodeLimit, What: "memory: there is no room for the value", Why: fmt.Sprintf("a tenant has at most %d keys (max_keys) and %d bytes (max_bytes)", m.opts.MaxKeys, m.opts.MaxBytes), Fix: "delete keys, or set them with a ttl", Err: err}
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the memory failed", Why: kernel.Quote(err.Error()), Err: err}
}
