package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/arguments"
)

// listPage is how many keys one call of memory.list_keys returns at most.
const listPage = 1000

// Ops returns the port's methods for the door. All are about the keys of the
// tenant of the run that calls.
//
//	memory.get {key, default?} -> {value, found}
//	memory.set {key, value, ttl?} -> {key, stored: true}
//	memory.delete {key} -> {deleted}
//	memory.exists {key} -> {exists}
//	memory.list_keys {prefix?, after?} -> {keys: [key], next?}
//	memory.query {prefix?, where?: {field: value}, limit?, after?} -> {entries: [{key, value}], next?}
//	memory.compare_and_swap {key, expected?, value, ttl?} -> {swapped}
//
// The value of an absent key is default, or null. ttl is a number of seconds.
// compare_and_swap sets the key if its value is expected or, without
// expected, if there is none. list_keys returns at most 1,000 keys; next, if it is
// there, is the after of the call that goes on.
//
// query returns the entries whose values are objects that have those fields, as they are
// stored; a.b is the field b of the object in the field a. It returns at most limit, 100
// if it is left out and 1,000 at most, and looks at so many that one call is short: it may
// return fewer, or none, and a next.
//
// A capability can restrict key and, of list_keys and query, prefix.
func (m *Memory) Ops() []ports.Op {
	key := []string{"key"}
	return []ports.Op{
		{Name: "memory.get", Guards: key, Func: m.opGet},
		{Name: "memory.set", Guards: key, Func: m.opSet},
		{Name: "memory.delete", Guards: key, Func: m.opDelete},
		{Name: "memory.exists", Guards: key, Func: m.opExists},
		{Name: "memory.list_keys", Guards: []string{"prefix"}, Func: m.opListKeys},
		{Name: "memory.query", Guards: []string{"prefix"}, Func: m.opQuery},
		{Name: "memory.compare_and_swap", Guards: key, Func: m.opCompareAndSwap},
	}
}

func (m *Memory) opGet(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "key", "default")
	if err != nil {
		return nil, err
	}
	value, found, err := m.Get(ctx, a.tenant, a.key)
	if err != nil {
		return nil, err
	}
	if !found {
		value = call.Args["default"]
	}
	return reply(map[string]any{"value": value, "found": found})
}

func (m *Memory) opSet(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "key", "value", "ttl")
	if err != nil {
		return nil, err
	}
	if err := m.Set(ctx, a.tenant, a.key, a.value, a.ttl); err != nil {
		return nil, err
	}
	return reply(map[string]any{"key": a.key, "stored": true})
}

func (m *Memory) opDelete(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "key")
	if err != nil {
		return nil, err
	}
	found, err := m.Delete(ctx, a.tenant, a.key)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"deleted": found})
}

func (m *Memory) opExists(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "key")
	if err != nil {
		return nil, err
	}
	found, err := m.Exists(ctx, a.tenant, a.key)
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"exists": found})
}

func (m *Memory) opListKeys(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "prefix", "after")
	if err != nil {
		return nil, err
	}
	found, err := m.ListKeys(ctx, a.tenant, a.prefix, a.after, listPage)
	if err != nil {
		return nil, err
	}
	keys := make([]any, len(found))
	for i, key := range found {
		keys[i] = key
	}
	value := map[string]any{"keys": keys}
	if len(found) == listPage {
		value["next"] = found[listPage-1]
	}
	return reply(value)
}

func (m *Memory) opQuery(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "prefix", "where", "limit", "after")
	if err != nil {
		return nil, err
	}
	found, next, err := m.Query(ctx, a.tenant, Query{Prefix: a.prefix, After: a.after, Where: a.where, Limit: a.limit})
	if err != nil {
		return nil, err
	}
	entries := make([]any, len(found))
	for i, e := range found {
		entries[i] = map[string]any{"key": e.Key, "value": e.Value}
	}
	value := map[string]any{"entries": entries}
	if next != "" {
		value["next"] = next
	}
	return reply(value)
}

func (m *Memory) opCompareAndSwap(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := begin(ctx, call, "key", "expected", "value", "ttl")
	if err != nil {
		return nil, err
	}
	var swapped bool
	if expected, given := call.Args["expected"]; given {
		swapped, err = m.CompareAndSwap(ctx, a.tenant, a.key, expected, a.value, a.ttl)
	} else {
		swapped, err = m.Create(ctx, a.tenant, a.key, a.value, a.ttl)
	}
	if err != nil {
		return nil, err
	}
	return reply(map[string]any{"swapped": swapped})
}

func reply(value map[string]any) (*kernel.PortReply, error) {
	return &kernel.PortReply{Value: value}, nil
}

// asked is what a call asks for, of its tenant.
type asked struct {
	tenant, key, prefix, after string
	value                      kernel.Value
	ttl                        time.Duration
	where                      map[string]any
	limit                      int
}

// begin reads the arguments of a call, which takes those that are known.
func begin(ctx context.Context, call *kernel.PortCall, known ...string) (*asked, error) {
	r, a := arguments.Of(call), &asked{}
	if run := r.Run(ctx); run != nil {
		a.tenant = run.Tenant
	}
	for _, name := range known {
		switch name {
		case "key":
			a.key = r.Text(name)
		case "prefix":
			a.prefix = r.TextOr(name, "")
		case "after":
			a.after = r.TextOr(name, "")
		case "ttl":
			a.ttl = ttlOf(r)
		case "where":
			a.where = r.Object(name, " of fields and values")
		case "limit":
			a.limit = int(r.Whole(name, 1, queryAnswer, 0))
		case "value":
			var given bool
			if a.value, given = r.Take(name); !given {
				r.Fail("value is missing; null is one, too")
			}
		default:
			r.Take(name)
		}
	}
	return a, r.End()
}

func ttlOf(r *arguments.Reader) time.Duration {
	bounds := fmt.Sprintf(" of seconds, from 0.001 to %.0f", MaxTTL.Seconds())
	seconds, given := r.Number("ttl", bounds)
	if given && !(seconds >= 0.001 && seconds <= MaxTTL.Seconds()) {
		r.Fail("ttl must be a number%s", bounds)
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}
