package artifacts

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// usageFresh is for how long a store believes what it counted of a tenant. Several
// processes that share a bucket may together exceed a quota by what they store in that time, unless
// Options.Serial says that they can be kept apart.
const usageFresh = time.Minute

// quotas counts what tenants have, by markers in the bucket:
//
//	usage/<tenant>/<id>.<size>           an artifact, with its manifest
//	usage/<tenant>/waste-<what>.<size>   what a delete, or a store that failed, left to Collect
//
// with the tenant by its SHA-256. There are none where there is no quota. A marker comes before
// what it counts and goes after it, so that what is interrupted counts too much until Collect.
type quotas struct {
	mu      sync.Mutex
	tenants map[string]*usage
}

type usage struct {
	mu      sync.Mutex
	stored  int64 // as the markers say
	waste   int64 // of these, what waits for Collect
	pending int64 // of what is being stored
	counted time.Time
}

// of returns what is counted of a tenant.
func (q *quotas) of(tenant string) *usage {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.tenants[tenant]
	if u == nil {
		u = &usage{}
		q.tenants[tenant] = u
	}
	return u
}

// recount makes the next Store of each tenant count anew.
func (q *quotas) recount() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, u := range q.tenants {
		u.mu.Lock()
		u.counted = time.Time{}
		u.mu.Unlock()
	}
}

// add notes a change of the markers that the bucket has.
func (u *usage) add(stored, waste int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stored, u.waste = max(0, u.stored+stored), max(0, u.waste+waste)
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
	u := s.quotas.of(tenant)
	u.mu.Lock()
	defer u.mu.Unlock()
	if time.Since(u.counted) > usageFresh {
		if err := s.count(ctx, u, tenant); err != nil {
			return nil, err
		}
	}
	return &reservation{usage: u, limit: s.opts.TenantBytes}, nil
}

// count counts a tenant's markers. Its caller holds the usage's lock.
func (s *Store) count(ctx context.Context, u *usage, tenant string) error {
	stored, waste := int64(0), int64(0)
	for object, err := range s.objects(ctx, usagePrefix(tenant)) {
		if err != nil {
			return err
		}
		name, size := parseMark(object.Key)
		stored += size
		if strings.HasPrefix(name, wastePrefix) {
			waste += size
		}
	}
	u.stored, u.waste, u.counted = stored, waste, time.Now()
	return nil
}

// take takes n bytes more, or says that the tenant has no more.
func (r *reservation) take(n int) error {
	if r == nil {
		return nil
	}
	r.usage.mu.Lock()
	defer r.usage.mu.Unlock()
	if r.usage.stored+r.usage.pending+int64(n) > r.limit {
		return r.usage.exceeded(r.limit)
	}
	r.usage.pending += int64(n)
	r.taken += int64(n)
	return nil
}

// exceeded says that the tenant has no more. Its caller holds the usage's lock.
func (u *usage) exceeded(limit int64) error {
	why := fmt.Sprintf("artifacts of a tenant have at most %d bytes with what describes them, those that are there have %d", limit, u.stored)
	if u.waste > 0 {
		why += fmt.Sprintf(", %d of them of deleted or failed ones, until 'hexdag artifacts gc' a day later", u.waste)
	}
	return &kernel.Error{Code: kernel.CodeLimit, What: "the artifact exceeds the tenant's quota", Why: why,
		Fix: "delete artifacts that are not needed, or have the operator raise tenant_bytes"}
}

// room counts anew what a tenant has, and whether there is room for so much more. Its caller holds
// the bucket's lock alone.
func (s *Store) room(ctx context.Context, tenant string, weight int64) error {
	u := s.quotas.of(tenant)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := s.count(ctx, u, tenant); err != nil {
		return err
	}
	if u.stored+weight > s.opts.TenantBytes {
		return u.exceeded(s.opts.TenantBytes)
	}
	return nil
}

// end gives back what was taken: what there is of it has its marker by now.
func (r *reservation) end() {
	if r == nil {
		return
	}
	r.usage.mu.Lock()
	defer r.usage.mu.Unlock()
	r.usage.pending -= r.taken
}

// charge marks what an artifact, whose manifest has the length weight less its content's, takes of
// its tenant's quota. What was left to Collect of the same content is no waste any more.
func (s *Store) charge(ctx context.Context, m *manifest, id string, weight int64, isNew bool) error {
	if s.opts.TenantBytes <= 0 {
		return nil
	}
	if err := s.put(ctx, usageKey(m.Origin.Tenant, id, weight), nil); err != nil {
		return err
	}
	u := s.quotas.of(m.Origin.Tenant)
	if isNew {
		u.add(weight, 0)
	}
	if !s.leaves(m.Size) {
		return nil
	}
	err := s.bucket.Delete(ctx, wasteKey(m.Origin.Tenant, hexOf(m.Digest), m.Size))
	if absent(err) {
		return nil
	}
	if err == nil {
		u.add(-m.Size, -m.Size)
	}
	return err
}

// discharge removes the marker of an artifact, if there is one.
func (s *Store) discharge(ctx context.Context, tenant, id string, weight int64) error {
	err := s.bucket.Delete(ctx, usageKey(tenant, id, weight))
	if absent(err) {
		return nil
	}
	if err == nil {
		s.quotas.of(tenant).add(-weight, 0)
	}
	return err
}

// leaves reports whether deleting content of a size leaves it, or pieces of it, to Collect.
func (s *Store) leaves(size int64) bool { return s.opts.Shared || size > PiecesAbove }

// wasteTime is how long a Store that fails may take to say what it leaves.
const wasteTime = 10 * time.Second

// spoiled marks what a Store that failed has left to Collect. That it failed is what its caller needs
// to know, so that an error here is not told; the bytes count in this process for a while all the same.
func (s *Store) spoiled(ctx context.Context, tenant string, size int64) {
	if s.opts.TenantBytes <= 0 || size == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wasteTime)
	defer cancel()
	name := make([]byte, 16)
	rand.Read(name) // never fails
	_ = s.waste(ctx, tenant, hex.EncodeToString(name), size)
}

// waste marks what is left to Collect.
func (s *Store) waste(ctx context.Context, tenant, what string, size int64) error {
	if s.opts.TenantBytes <= 0 {
		return nil
	}
	s.quotas.of(tenant).add(size, size)
	return s.put(ctx, wasteKey(tenant, what, size), nil)
}

const wastePrefix = "waste-"

func usagePrefix(tenant string) string { return "usage/" + hexOf(digest([]byte(tenant))) + "/" }
func usageKey(tenant, id string, size int64) string {
	return usagePrefix(tenant) + hexOf(id) + "." + strconv.FormatInt(size, 10)
}
func wasteKey(tenant, what string, size int64) string {
	return usagePrefix(tenant) + wastePrefix + what + "." + strconv.FormatInt(size, 10)
}

// parseMark returns what a marker of usage is of, and the bytes.
func parseMark(key string) (name string, size int64) {
	name, text, _ := strings.Cut(path.Base(key), ".")
	size, _ = strconv.ParseInt(text, 10, 64)
	return name, max(0, size)
}
