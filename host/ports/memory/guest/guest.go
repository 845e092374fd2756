// Package guest is a backend of the memory port: whoever does its operations, which a
// module is by exporting port_call. It does
//
//	memory.get              {tenant, key, now} -> {found, value?}
//	memory.set              {tenant, key, value, now, expires?, room} -> {full?}
//	memory.compare_and_swap {tenant, key, value, expected?, now, expires?, room} -> {swapped, full?}
//	memory.delete           {tenant, key, now} -> {deleted}
//	memory.list_keys        {tenant, prefix, after, limit, now} -> {keys: [key]}
//
// What the port promises its callers, the host has seen to: keys and values are within
// their limits, and exists and default are its own. value and expected are texts: the
// JSON of the value, to be given back as it is, and compared byte by byte. now and
// expires are nanoseconds since 1970; an entry whose expires is not after now is not
// there. room is {keys, bytes}, what a tenant may keep, keys and values together; full,
// if true, says that nothing was stored for want of it. compare_and_swap without
// expected stores if there is no such key. list_keys gives at most limit keys that
// begin with prefix and come after after, in the order of their bytes. [driver.Store] says
// what else such a backend owes.
package guest

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory/driver"
)

// Operations are what the backend has to do.
func Operations() []string {
	return []string{"memory.get", "memory.set", "memory.compare_and_swap", "memory.delete", "memory.list_keys"}
}

// Store keeps entries by calls of another.
type Store struct {
	do     kernel.PortFunc
	closed atomic.Bool
}

var _ driver.Store = (*Store)(nil)

// New returns the store whose operations do does.
func New(do kernel.PortFunc) *Store { return &Store{do: do} }

// tenantText is a tenant as an argument: itself, where JSON can hold it, and no two the same.
func tenantText(tenant string) string {
	if utf8.ValidString(tenant) && !strings.HasPrefix(tenant, "\x00") {
		return tenant
	}
	return "\x00" + hex.EncodeToString([]byte(tenant))
}

// ask calls an operation and reads its reply.
func (s *Store) ask(ctx context.Context, op string, args map[string]any, into any) error {
	if s.closed.Load() {
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the memory is closed"}
	}
	reply, err := s.do(ctx, &kernel.PortCall{Op: op, Args: args})
	if err != nil {
		return err
	}
	if reply.Value == nil {
		return nil
	}
	if err := kernel.FromValue(reply.Value, into); err != nil {
		return broken(op, err.Error())
	}
	return nil
}

func broken(op, why string) error {
	return &kernel.Error{Code: kernel.CodeABI, What: "the module's answer to " + op + " cannot be used", Why: kernel.Quote(why), Fix: "answer as README, Guest-made ports, says"}
}

func about(now time.Time, tenant, key string) map[string]any {
	return map[string]any{"tenant": tenantText(tenant), "key": key, "now": kernel.Number(now.UnixNano())}
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, now time.Time, tenant, key string) ([]byte, bool, error) {
	var r struct {
		Found bool    `json:"found"`
		Value *string `json:"value"`
	}
	if err := s.ask(ctx, "memory.get", about(now, tenant, key), &r); err != nil || !r.Found {
		return nil, false, err
	}
	if r.Value == nil {
		return nil, false, broken("memory.get", "found is true, and there is no value")
	}
	return []byte(*r.Value), true, nil
}

// Put implements [driver.Store].
func (s *Store) Put(ctx context.Context, now time.Time, tenant string, p *driver.Put) (bool, error) {
	args := about(now, tenant, p.Key)
	args["value"] = string(p.Value)
	args["room"] = map[string]any{"keys": kernel.Number(int64(p.Room.Keys)), "bytes": kernel.Number(p.Room.Bytes)}
	if !p.Expires.IsZero() {
		args["expires"] = kernel.Number(p.Expires.UnixNano())
	}
	op := "memory.set"
	if p.If != driver.Always {
		op = "memory.compare_and_swap"
	}
	if p.If == driver.IfEqual {
		args["expected"] = string(p.Expected)
	}
	var r struct {
		Swapped *bool `json:"swapped"`
		Full    bool  `json:"full"`
	}
	switch err := s.ask(ctx, op, args, &r); {
	case err != nil:
		return false, err
	case r.Full:
		return false, driver.ErrFull
	case p.If == driver.Always:
		return true, nil
	case r.Swapped == nil:
		return false, broken(op, "it does not say whether it swapped")
	}
	return *r.Swapped, nil
}

// Delete implements [driver.Store].
func (s *Store) Delete(ctx context.Context, now time.Time, tenant, key string) (bool, error) {
	var r struct {
		Deleted bool `json:"deleted"`
	}
	err := s.ask(ctx, "memory.delete", about(now, tenant, key), &r)
	return r.Deleted && err == nil, err
}

// List implements [driver.Store].
func (s *Store) List(ctx context.Context, now time.Time, tenant, prefix, after string, limit int) ([]string, error) {
	var r struct {
		Keys []string `json:"keys"`
	}
	args := map[string]any{"tenant": tenantText(tenant), "prefix": prefix, "after": after, "limit": kernel.Number(int64(limit)), "now": kernel.Number(now.UnixNano())}
	if err := s.ask(ctx, "memory.list_keys", args, &r); err != nil {
		return nil, err
	}
	last := after
	unasked := func(key string) bool {
		wrong := !strings.HasPrefix(key, prefix) || key <= last
		last = key
		return wrong
	}
	if len(r.Keys) > limit || slices.ContainsFunc(r.Keys, unasked) {
		return nil, broken("memory.list_keys", "it has keys that were not asked for, or not in their order")
	}
	return r.Keys, nil
}

// Entries returns what List does with the values, and at most that many bytes of keys and
// values together, of which the first entry may have any number: none are the last. It
// asks for each by itself; one that goes meanwhile is left out.
func (s *Store) Entries(ctx context.Context, now time.Time, tenant, prefix, after string, limit int, bytes int64) ([]driver.Entry, error) {
	var entries []driver.Entry
	for {
		keys, err := s.List(ctx, now, tenant, prefix, after, limit)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			value, found, err := s.Get(ctx, now, tenant, key)
			if err != nil {
				return nil, err
			}
			if !found {
				continue
			}
			if bytes -= int64(len(key) + len(value)); bytes < 0 && len(entries) > 0 {
				return entries, nil
			}
			entries = append(entries, driver.Entry{Key: key, Value: value})
		}
		if len(entries) > 0 || len(keys) < limit {
			return entries, nil
		}
		after = keys[len(keys)-1] // all of them have gone, and there may be more
	}
}

// Close refuses later calls. Whose operations they are stays open.
func (s *Store) Close() error {
	s.closed.Store(true)
	return nil
}
