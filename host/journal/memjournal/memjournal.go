// Package memjournal keeps journals in memory, for tests: nothing of it is there after the process.
package memjournal

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/journal/driver"
)

type key struct{ tenant, id string }

// Server holds the journals that the stores of several hosts share.
type Server struct {
	mu    sync.Mutex
	runs  map[key]*journal
	blobs map[key]blob
	hosts map[string]bool // those that are open
	opens int
}

type journal struct {
	head   driver.Run
	chunks []driver.Chunk
}

type blob struct {
	data []byte
	put  time.Time
}

// NewServer returns one that is empty.
func NewServer() *Server {
	return &Server{runs: map[key]*journal{}, blobs: map[key]blob{}, hosts: map[string]bool{}}
}

// New returns a store that nothing else shares.
func New() driver.Store { return NewServer().Open("host") }

// Open returns the store of a host, as one of another process each time: its runs are free once it is closed.
func (s *Server) Open(host string) driver.Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opens++
	host = fmt.Sprint(host, "-", s.opens)
	s.hosts[host] = true
	return &store{Server: s, host: host}
}

// Bury has all hosts taken for dead that are open, whatever they do.
func (s *Server) Bury() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.hosts)
}

type store struct {
	*Server
	host string
}

var _ driver.Store = (*store)(nil)

// shown returns a head as others see it.
func (s *Server) shown(j *journal) *driver.Run {
	head := j.head
	head.Free = head.Status == driver.Running && !s.hosts[head.Owner]
	return &head
}

// idle returns a journal that nobody works on.
func (s *store) idle(tenant, run string) (*journal, error) {
	j := s.runs[key{tenant, run}]
	switch {
	case j == nil:
		return nil, driver.ErrNotFound
	case j.head.Status == driver.Running && s.hosts[j.head.Owner]:
		return nil, &driver.Taken{Owner: j.head.Owner}
	}
	return j, nil
}

// Create implements driver.Store.
func (s *store) Create(ctx context.Context, run *driver.Run) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{run.Tenant, run.ID}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.runs[k] != nil:
		return driver.ErrExists
	}
	run.Status, run.Owner, run.Epoch, run.Touched, run.Entries, run.Bytes, run.Free = driver.Running, s.host, 1, time.Now(), 0, 0, false
	s.runs[k] = &journal{head: *run}
	return nil
}

// Claim implements driver.Store.
func (s *store) Claim(ctx context.Context, tenant, run string, force bool) (*driver.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.known(ctx, tenant, run)
	switch {
	case err != nil:
		return nil, err
	case j.head.Status != driver.Running && j.head.Status != driver.Suspended:
		return nil, &driver.Over{Status: j.head.Status}
	case j.head.Status == driver.Running && j.head.Owner != s.host && s.hosts[j.head.Owner] && !force:
		return nil, &driver.Taken{Owner: j.head.Owner}
	}
	return s.take(j), nil
}

// known returns the journal of a run. It is called with the lock.
func (s *store) known(ctx context.Context, tenant, run string) (*journal, error) {
	j := s.runs[key{tenant, run}]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case j == nil:
		return nil, driver.ErrNotFound
	}
	return j, nil
}

// take makes a run this host's.
func (s *store) take(j *journal) *driver.Run {
	j.head.Status, j.head.Owner, j.head.Touched, j.head.Waits = driver.Running, s.host, time.Now(), nil
	j.head.Epoch++
	return s.shown(j)
}

// Wake implements driver.Store.
func (s *store) Wake(ctx context.Context, tenant, run string, epoch uint64) (*driver.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.known(ctx, tenant, run)
	switch {
	case err != nil:
		return nil, err
	case j.head.Status != driver.Suspended || j.head.Epoch != epoch:
		return nil, driver.ErrFenced
	}
	return s.take(j), nil
}

// Append implements driver.Store.
func (s *store) Append(ctx context.Context, chunks []driver.Chunk) ([]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	errs := make([]error, len(chunks))
	for i := range chunks {
		errs[i] = s.append(&chunks[i])
	}
	return errs, nil
}

func (s *Server) append(c *driver.Chunk) error {
	j := s.runs[key{c.Tenant, c.Run}]
	switch {
	case j == nil:
		return driver.ErrNotFound
	case j.head.Epoch != c.Epoch:
		return driver.ErrFenced
	case j.again(c):
		return nil
	case j.head.Status != driver.Running:
		return driver.ErrFenced
	case c.First != j.head.Entries+1:
		return driver.ErrGap
	}
	if c.Count > 0 {
		own := *c
		own.Data = bytes.Clone(c.Data)
		j.chunks = append(j.chunks, own)
	}
	j.head.Entries += c.Count
	j.head.Bytes += int64(len(c.Data))
	j.head.Status, j.head.Touched = cmp.Or(c.Status, j.head.Status), time.Now()
	if j.head.Status == driver.Suspended && c.Waits != nil {
		own := *c.Waits
		j.head.Waits = &own
	}
	return nil
}

// again reports whether a chunk, with its status, is there already.
func (j *journal) again(c *driver.Chunk) bool {
	if c.Status != "" && j.head.Status != c.Status {
		return false
	}
	if c.Count == 0 {
		return c.First == j.head.Entries+1 && j.head.Status == c.Status
	}
	return slices.ContainsFunc(j.chunks, func(there driver.Chunk) bool {
		return there.First == c.First && there.Count == c.Count && bytes.Equal(there.Data, c.Data)
	})
}

// Chunks implements driver.Store.
func (s *store) Chunks(ctx context.Context, tenant, run string) iter.Seq2[driver.Chunk, error] {
	return func(yield func(driver.Chunk, error) bool) {
		s.mu.Lock()
		j := s.runs[key{tenant, run}]
		if j == nil {
			s.mu.Unlock()
			yield(driver.Chunk{}, driver.ErrNotFound)
			return
		}
		chunks := slices.Clone(j.chunks)
		s.mu.Unlock()
		for _, c := range chunks {
			if err := ctx.Err(); err != nil {
				yield(driver.Chunk{}, err)
				return
			}
			c.Data = bytes.Clone(c.Data)
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Last implements driver.Store.
func (s *store) Last(ctx context.Context, tenant, run string) (driver.Chunk, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.runs[key{tenant, run}]
	switch {
	case ctx.Err() != nil:
		return driver.Chunk{}, ctx.Err()
	case j == nil || len(j.chunks) == 0:
		return driver.Chunk{}, driver.ErrNotFound
	}
	c := j.chunks[len(j.chunks)-1]
	c.Data = bytes.Clone(c.Data)
	return c, nil
}

// Truncate implements driver.Store.
func (s *store) Truncate(ctx context.Context, tenant, run string, epoch, first uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.runs[key{tenant, run}]
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case j == nil:
		return driver.ErrNotFound
	case j.head.Epoch != epoch || j.head.Status != driver.Running:
		return driver.ErrFenced
	}
	j.set(slices.DeleteFunc(j.chunks, func(c driver.Chunk) bool { return c.First >= first }))
	return nil
}

// set puts chunks in the place of those that there were.
func (j *journal) set(chunks []driver.Chunk) {
	j.chunks, j.head.Entries, j.head.Bytes, j.head.Touched = chunks, 0, 0, time.Now()
	for _, c := range chunks {
		j.head.Entries = max(j.head.Entries, c.First+c.Count-1)
		j.head.Bytes += int64(len(c.Data))
	}
}

// Rewrite implements driver.Store.
func (s *store) Rewrite(ctx context.Context, tenant, run string, chunks []driver.Chunk) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	j, err := s.idle(tenant, run)
	if err = cmp.Or(ctx.Err(), err, driver.Consecutive(chunks)); err != nil {
		return err
	}
	var own []driver.Chunk
	for _, c := range chunks {
		c.Tenant, c.Run, c.Data = tenant, run, bytes.Clone(c.Data)
		own = append(own, c)
	}
	j.set(own)
	return nil
}

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, tenant, run string) (*driver.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.runs[key{tenant, run}]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case j == nil:
		return nil, driver.ErrNotFound
	}
	return s.shown(j), nil
}

// Runs implements driver.Store.
func (s *store) Runs(ctx context.Context, tenant string, q driver.Query) ([]*driver.Run, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var runs []*driver.Run
	for k, j := range s.runs {
		if r := s.shown(j); k.tenant == tenant && q.Picks(r) {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b *driver.Run) int {
		return cmp.Or(b.Begun.Compare(a.Begun), cmp.Compare(b.ID, a.ID))
	})
	if q.Limit > 0 && len(runs) > q.Limit {
		runs = runs[:q.Limit]
	}
	return runs, nil
}

// Delete implements driver.Store.
func (s *store) Delete(ctx context.Context, tenant, run string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.idle(tenant, run)
	if err = cmp.Or(ctx.Err(), err); err != nil {
		return err
	}
	delete(s.runs, key{tenant, run})
	return nil
}

// PutBlob implements driver.Store.
func (s *store) PutBlob(ctx context.Context, tenant, digest string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	k := key{tenant, digest}
	b, there := s.blobs[k]
	if !there {
		b.data = bytes.Clone(data)
	}
	b.put = time.Now()
	s.blobs[k] = b
	return nil
}

// Blob implements driver.Store.
func (s *store) Blob(ctx context.Context, tenant, digest string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.blobs[key{tenant, digest}]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, driver.ErrNotFound
	}
	return bytes.Clone(b.data), nil
}

// Sweep implements driver.Store.
func (s *store) Sweep(ctx context.Context, tenant string, before time.Time, keep map[string]bool) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n := 0
	for k, b := range s.blobs {
		if k.tenant == tenant && b.put.Before(before) && !keep[k.id] {
			delete(s.blobs, k)
			n++
		}
	}
	return n, nil
}

// Compact implements driver.Store.
func (s *store) Compact(ctx context.Context) error { return ctx.Err() }

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.hosts, s.host)
	return nil
}
