package entitystate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Keeper keeps the records of entities: values under keys of scopes, with the labels of whoever keeps them, which whoever gets them
// learns. A ttl that is not 0 is how long a value is there.
type Keeper interface {
	Get(ctx context.Context, scope, key string) (value kernel.Value, found bool, err error)
	// Create keeps a value under a key that has none, and reports whether it had none.
	Create(ctx context.Context, scope, key string, value kernel.Value, ttl time.Duration) (bool, error)
	// CompareAndSwap keeps a value in place of the one that is expected, and reports whether that was there.
	CompareAndSwap(ctx context.Context, scope, key string, expected, value kernel.Value, ttl time.Duration) (bool, error)
	// Now returns the time by the keeper's clock, which is one for all who keep there: claims end by it.
	Now(ctx context.Context) (time.Time, error)
}

// DefaultEntities is how many entities a tenant has at most, where nobody says it.
const DefaultEntities = 100_000

// Documents returns a keeper that keeps records in what open opens, and at most that many of a scope; 0 is DefaultEntities. One more is
// CodeLimit.
func Documents(open func(context.Context) (*datastore.Store, error), most int64) Keeper {
	return documents{open, cmp.Or(most, DefaultEntities)}
}

type documents struct {
	open func(context.Context) (*datastore.Store, error)
	most int64
}

// collection is that of the records. Those that end are found by endsTerm, ordered by when.
const (
	collection = "entity_states"
	endsTerm   = "ends"
	maxPruned  = 16 // ended records that are removed with one that ends
)

// document is what is kept of a record.
type document struct {
	Value  json.RawMessage `json:"value"`
	Labels *kernel.Labels  `json:"labels,omitempty"`
	Ends   time.Time       `json:"ends,omitzero"`

	value    kernel.Value
	there    bool
	revision int64
}

// load returns what is kept under a key; a value that has ended is not there.
func (k documents) load(ctx context.Context, scope, key string) (*datastore.Store, *document, error) {
	store, err := k.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	found, err := store.Load(ctx, scope, collection, key)
	if err != nil || found == nil {
		return store, &document{}, err
	}
	d := &document{revision: found.Revision}
	if err = json.Unmarshal(found.Value, d); err == nil {
		d.value, err = kernel.DecodeJSON(d.Value)
	}
	if err != nil {
		return nil, nil, &kernel.Error{Code: kernel.CodeFailed, What: "what is kept of the entity " + quote(key) + " is damaged", Why: kernel.Quote(err.Error()), Err: err}
	}
	d.there = d.Ends.IsZero() || d.Ends.After(time.Now())
	kernel.FlowFrom(ctx).Join(d.Labels.OrNil())
	return store, d, nil
}

// Get implements Keeper.
func (k documents) Get(ctx context.Context, scope, key string) (kernel.Value, bool, error) {
	_, d, err := k.load(ctx, scope, key)
	if err != nil || !d.there {
		return nil, false, err
	}
	return d.value, true, nil
}

// Create implements Keeper.
func (k documents) Create(ctx context.Context, scope, key string, value kernel.Value, ttl time.Duration) (bool, error) {
	store, d, err := k.load(ctx, scope, key)
	if err != nil || d.there {
		return false, err
	}
	if d.revision == driver.Absent {
		if err := k.room(ctx, store, scope); err != nil {
			return false, err
		}
	}
	return k.put(ctx, store, scope, key, value, ttl, d.revision)
}

// room refuses one record more than there may be. Those that have ended, and are still there, are removed before.
func (k documents) room(ctx context.Context, store *datastore.Store, scope string) error {
	n, err := store.Count(ctx, scope, collection)
	if err == nil && n >= k.most {
		if err = prune(ctx, store, scope); err == nil {
			n, err = store.Count(ctx, scope, collection)
		}
	}
	if err == nil && n >= k.most {
		err = &kernel.Error{Code: kernel.CodeLimit, What: "there are too many entities", Why: fmt.Sprintf("%d are known, and max_entities is %d", n, k.most), Fix: "have states that end them (terminal: true), or have the operator raise libraries.entity_state.max_entities"}
	}
	return err
}

// CompareAndSwap implements Keeper.
func (k documents) CompareAndSwap(ctx context.Context, scope, key string, expected, value kernel.Value, ttl time.Duration) (bool, error) {
	store, d, err := k.load(ctx, scope, key)
	if err != nil || !d.there {
		return false, err
	}
	is, err := kernel.EncodeJSON(d.value)
	if err != nil {
		return false, err
	}
	was, err := kernel.EncodeJSON(expected)
	if err != nil || !bytes.Equal(is, was) {
		return false, err
	}
	return k.put(ctx, store, scope, key, value, ttl, d.revision)
}

// Now implements Keeper.
func (k documents) Now(ctx context.Context) (time.Time, error) {
	store, err := k.open(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return store.Now(ctx)
}

func (k documents) put(ctx context.Context, store *datastore.Store, scope, key string, value kernel.Value, ttl time.Duration, revision int64) (bool, error) {
	d := document{Labels: kernel.FlowFrom(ctx).Labels()}
	out := driver.Document{Key: key}
	var err error
	if d.Value, err = kernel.EncodeJSON(value); err != nil {
		return false, err
	}
	if ttl > 0 {
		d.Ends = time.Now().Add(ttl).UTC()
		out.Order, out.Terms = d.Ends.UnixNano(), []string{endsTerm}
		if err := prune(ctx, store, scope); err != nil {
			return false, err
		}
	}
	if out.Value, err = json.Marshal(d); err != nil {
		return false, err
	}
	return store.Put(ctx, scope, collection, out, revision)
}

// prune removes records that have ended.
func prune(ctx context.Context, store *datastore.Store, scope string) error {
	q := driver.All(maxPruned)
	q.Terms, q.Max = []string{endsTerm}, time.Now().UnixNano()
	ended, err := store.Query(ctx, scope, collection, q)
	if err != nil {
		return err
	}
	writes := make([]driver.Write, len(ended))
	for i, d := range ended {
		writes[i] = driver.Write{Document: driver.Document{Key: d.Key}, If: d.Revision, Delete: true}
	}
	_, err = store.Save(ctx, scope, collection, writes...)
	return err
}
