package processregistry

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// hostsCollection is where hosts say that they are there: a document's Order is until when.
const hostsCollection = "processes.hosts"

// hosts are those that were there when somebody looked.
type hosts struct {
	mu    sync.Mutex
	known map[string]map[string]bool // by tenant
	at    map[string]time.Time
}

// say has the tenant's readers know that this host is there for another TTL, unless that was said just now.
func (r *Registry) say(ctx context.Context, store *datastore.Store, tenant string) error {
	now := r.opts.Now()
	r.mu.Lock()
	fresh := r.tenants[tenant].Sub(now) > r.opts.TTL/2
	r.mu.Unlock()
	if fresh {
		return nil
	}
	until := now.Add(r.opts.TTL)
	if _, err := store.Put(ctx, tenant, hostsCollection, driver.Document{Key: r.self, Value: []byte("{}"), Order: until.UnixNano()}, driver.Any); err != nil {
		return err
	}
	r.mu.Lock()
	r.tenants[tenant] = until
	r.mu.Unlock()
	return nil
}

// each does something for every tenant that has had runs here.
func (r *Registry) each(ctx context.Context, do func(*datastore.Store, string) error) error {
	r.mu.Lock()
	tenants := make([]string, 0, len(r.tenants))
	for tenant := range r.tenants {
		tenants = append(tenants, tenant)
	}
	r.mu.Unlock()
	if len(tenants) == 0 {
		return nil
	}
	store, err := r.opts.Store(ctx)
	problems := []error{err}
	for _, tenant := range tenants {
		if err == nil {
			problems = append(problems, do(store, tenant))
		}
	}
	return errors.Join(problems...)
}

func (r *Registry) sayAll(ctx context.Context) error {
	return r.each(ctx, func(store *datastore.Store, tenant string) error {
		if !r.said(tenant) {
			return nil
		}
		return r.say(ctx, store, tenant)
	})
}

// said reports whether runs of a tenant have been under way here.
func (r *Registry) said(tenant string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.tenants[tenant].IsZero()
}

// leave says that this host is gone, and forgets those that have been for long.
func (r *Registry) leave(ctx context.Context) error {
	return r.each(ctx, func(store *datastore.Store, tenant string) error {
		if !r.said(tenant) {
			return nil
		}
		q := driver.All(100)
		q.Max = r.opts.Now().Add(-r.opts.TTL).UnixNano()
		gone, err := store.Query(ctx, tenant, hostsCollection, q)
		if err != nil {
			return err
		}
		writes := []driver.Write{{Document: driver.Document{Key: r.self}, If: driver.Any, Delete: true}}
		for _, d := range gone {
			if d.Key != r.self {
				writes = append(writes, driver.Write{Document: driver.Document{Key: d.Key}, If: d.Revision, Delete: true})
			}
		}
		_, err = store.Save(ctx, tenant, hostsCollection, writes...)
		return err
	})
}

// judge has a run be lost that was running on a host which is no longer there.
func (r *Registry) judge(ctx context.Context, store *datastore.Store, tenant string, p *Process) error {
	if p.Status != Running || p.Host == r.self {
		return nil
	}
	there, err := r.there(ctx, store, tenant, p.Host)
	if err == nil && !there {
		p.Status = Lost
	}
	return err
}

// there reports whether a host is there, as of a moment ago.
func (r *Registry) there(ctx context.Context, store *datastore.Store, tenant, host string) (bool, error) {
	a := &r.alive
	a.mu.Lock()
	defer a.mu.Unlock()
	now := r.opts.Now()
	if at, looked := a.at[tenant]; looked && now.Sub(at) < r.opts.TTL/20 && !now.Before(at) && a.known[tenant][host] {
		return true, nil
	}
	found, err := store.Query(ctx, tenant, hostsCollection, driver.Query{Min: now.UnixNano(), Max: math.MaxInt64, Limit: datastore.MaxLimit})
	if err != nil {
		return false, err
	}
	known := make(map[string]bool, len(found))
	for _, d := range found {
		known[d.Key] = true
	}
	if a.known == nil {
		a.known, a.at = map[string]map[string]bool{}, map[string]time.Time{}
	}
	a.known[tenant], a.at[tenant] = known, now
	return known[host], nil
}
