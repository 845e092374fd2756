package artifacts

import (
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// usageFresh is for how long a store believes what it counted of a tenant. Several
// processes that share a bucket may together exceed a quota by what they store in that time.
const usageFresh = time.Minute

// quotas counts what tenants have, by markers in the bucket:
//
//	usage/<tenant>/<id>.<size>
//
// with the tenant by its SHA-256. There are none where there is no quota.
type quotas struct {
	mu      sync.Mutex
	tenants map[string]*usage
}

type usage struct {
	mu      sync.Mutex
	stored  int64 // as the markers say
	pending int64 // of what is being stored
	counted time.Time
}

// reservation is what one Store takes of a tenant's quota.
type reservation struct {
	usage *usage
	limit int64
	taken int64
}

// reserve begins a Store of a tenant. The result may be nil: there is no quota.
func (s *Store) reserve(ctx context.Context, tenant string) (*reservation, error) {
	if s.opts.TenantBytes <= 0 {
		return nil, nil
	}
	s.quotas.mu.Lock()
	u := s.quotas.tenants[tenant]
	if u == nil {
		u = &usage{}
		s.quotas.tenants[tenant] = u
	}
	s.quotas.mu.Unlock()

	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.counted) > usageFresh {
		total := int64(0)
		for object, err := range s.objects(ctx, usagePrefix(tenant)) {
			if err != nil {
				return nil, err
			}
			size, _ := strconv.ParseInt(strings.TrimPrefix(path.Ext(object.Key), "."), 10, 64)
			total += size
		}
		u.stored, u.counted = total, time.Now()
	}
	return &reservation{usage: u, limit: s.opts.TenantBytes}, nil
}

// take takes n bytes more, or says that the tenant has no more.
func (r *reservation) take(n int) error {
	if r == nil {
		return nil
	}
	r.usage.mu.Lock()
	defer r.usage.mu.Unlock()
	if r.usage.stored+r.usage.pending+int64(n) > r.limit {
		return &kernel.Error{Code: kernel.CodeLimit, What: "the artifact exceeds the tenant's quota",
			Why: fmt.Sprintf("artifacts of a tenant have at most %d bytes, those that are there have %d", r.limit, r.usage.stored),
			Fix: "delete artifacts that are not needed, or have the operator raise tenant_bytes"}
	}
	r.usage.pending += int64(n)
	r.taken += int64(n)
	return nil
}

// end gives back what was taken; what was stored counts from now on.
func (r *reservation) end(stored int64) {
	if r == nil {
		return
	}
	r.usage.mu.Lock()
	defer r.usage.mu.Unlock()
	r.usage.pending -= r.taken
	r.usage.stored += stored
}

// charge marks what an artifact takes of its tenant's quota.
func (s *Store) charge(ctx context.Context, m *manifest, id string) error {
	if s.opts.TenantBytes <= 0 {
		return nil
	}
	return s.put(ctx, usageKey(m.Origin.Tenant, id, m.Size), nil)
}

// discharge removes the mark, if there is one.
func (s *Store) discharge(ctx context.Context, a *Artifact) error {
	err := s.bucket.Delete(ctx, usageKey(a.Origin.Tenant, a.ID, a.Size))
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	s.quotas.mu.Lock()
	u := s.quotas.tenants[a.Origin.Tenant]
	s.quotas.mu.Unlock()
	if u != nil {
		u.mu.Lock()
		u.stored = max(0, u.stored-a.Size)
		u.mu.Unlock()
	}
	return nil
}

func usagePrefix(tenant string) string { return "usage/" + hexOf(digest([]byte(tenant))) + "/" }
func usageKey(tenant, id string, size int64) string {
	return usagePrefix(tenant) + hexOf(id) + "." + strconv.FormatInt(size, 10)
}
