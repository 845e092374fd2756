package etcdlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// maxSpares is how many leases of one TTL are kept for the next acquires.
const maxSpares = 16

// slack is how much longer than its TTL a lease is: the permit's time begins when it is had, and the lease's before.
const slack = time.Second

// undoTime is how long taking back may take once the context has ended.
const undoTime = 5 * time.Second

// held is a key under a lease, which holds a permit once its turn has come.
type held struct {
	store    *Store
	folder   string
	key      string
	permits  int
	seconds  int64
	lease    clientv3.LeaseID
	revision int64 // of the key's creation

	mu   sync.Mutex
	from time.Time
}

var _ driver.Held = (*held)(nil)

// Acquire implements driver.Store.
func (s *Store) Acquire(ctx context.Context, r *driver.Request) (driver.Held, error) {
	seconds := int64((r.TTL + slack + time.Second - 1) / time.Second)
	h := &held{store: s, folder: s.folder(r.Tenant, r.Name), permits: r.Permits, seconds: seconds}
	if err := h.enter(ctx); err != nil {
		return nil, err
	}
	err := h.queue(ctx, r)
	if err == nil && time.Since(h.From()) > slack {
		err = h.Renew(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, h.undo(ctx))
	}
	return h, nil
}

// enter gets a lease of etcd's: a spare one, which is renewed unless it just was.
func (h *held) enter(ctx context.Context) error {
	s := h.store
	for {
		s.mu.Lock()
		list := s.spares[h.seconds]
		if len(list) == 0 {
			s.mu.Unlock()
			break
		}
		last := list[len(list)-1]
		s.spares[h.seconds] = list[:len(list)-1]
		s.mu.Unlock()
		h.lease, h.from = last.id, last.from
		if time.Since(h.from) < slack/2 || h.Renew(ctx) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	h.from = time.Now()
	granted, err := s.client.Grant(ctx, h.seconds)
	if err != nil {
		return failed(ctx, err)
	}
	h.lease = granted.ID
	return nil
}

func (h *held) ttl() time.Duration { return time.Duration(h.seconds) * time.Second }

// queue puts the key into the queue and waits until it is its turn.
func (h *held) queue(ctx context.Context, r *driver.Request) error {
	h.key = fmt.Sprintf("%s%x", h.folder, h.lease)
	first := []clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortAscend), clientv3.WithLimit(int64(h.permits) + 1)}
	answer, err := h.store.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(h.key), "=", 0)).
		Then(clientv3.OpPut(h.key, string(r.Encode("")), clientv3.WithLease(h.lease)), clientv3.OpGet(h.folder, first...)).
		Else(clientv3.OpGet(h.folder, first...)).Commit()
	if err != nil {
		return failed(ctx, err)
	}
	if !answer.Succeeded { // a spare lease's key that was to be gone
		return failed(ctx, errors.New("the key of an earlier lease is there"))
	}
	h.revision = answer.Header.Revision
	ahead := answer.Responses[1].GetResponseRange().Kvs
	for {
		if len(ahead) > 0 && ahead[0].CreateRevision != h.revision {
			if note := driver.ReadNote(ahead[0].Value); note.Permits != 0 && note.Permits != h.permits {
				return driver.ErrPermits
			}
		}
		switch {
		case h.turn(ahead):
			return nil
		case !r.Wait:
			return &driver.HeldError{}
		}
		if err := h.wait(ctx, answer.Header.Revision+1); err != nil {
			return err
		}
		// What is read here is of all servers: the key is there, and so is its lease (etcd #11456).
		again, err := h.store.client.Get(ctx, h.folder, first...)
		if err != nil {
			return failed(ctx, err)
		}
		ahead, answer.Header = again.Kvs, again.Header
		if err := h.present(ctx); err != nil {
			return err
		}
	}
}

// turn reports whether the key is among the first, as many as there are permits.
func (h *held) turn(first []*mvccpb.KeyValue) bool {
	mine := slices.IndexFunc(first, func(kv *mvccpb.KeyValue) bool { return kv.CreateRevision == h.revision })
	return mine >= 0 && mine < h.permits
}

// present returns an error if the key has gone, with its lease.
func (h *held) present(ctx context.Context) error {
	answer, err := h.store.client.Get(ctx, h.key)
	if err != nil {
		return failed(ctx, err)
	}
	if len(answer.Kvs) == 0 || answer.Kvs[0].CreateRevision != h.revision {
		return failed(ctx, errors.New("the lease ended while it waited"))
	}
	return nil
}

// wait renews the lease until a key of the lock is deleted, or the context ends.
func (h *held) wait(ctx context.Context, revision int64) error {
	watched, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := h.store.client.Watch(watched, h.folder, clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithFilterPut())
	renew := time.NewTicker(h.ttl() / 3)
	defer renew.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case change, ok := <-changes:
			if !ok || change.Err() != nil || len(change.Events) > 0 {
				return nil // what there is now is read by the caller
			}
		case <-renew.C:
			if err := h.Renew(ctx); errors.Is(err, driver.ErrLost) {
				return failed(ctx, errors.New("the lease ended while it waited"))
			}
		}
	}
}

// undo takes back what an Acquire that failed may have left.
func (h *held) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	if h.revision != 0 && h.Release(ctx) == nil {
		return nil
	}
	_, _ = h.store.client.Revoke(ctx, h.lease) // what is not revoked ends with its TTL
	return nil
}

// Fence implements driver.Held.
func (h *held) Fence() uint64 { return uint64(h.revision) }

// From implements driver.Held.
func (h *held) From() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.from
}

// Renew implements driver.Held.
func (h *held) Renew(ctx context.Context) error {
	from := time.Now()
	_, err := h.store.client.KeepAliveOnce(ctx, h.lease)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return driver.ErrLost
	case err != nil:
		return failed(ctx, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from = from
	return nil
}

// Release implements driver.Held. The lease is kept for the next acquire once its key is gone for certain.
func (h *held) Release(ctx context.Context) error {
	answer, err := h.store.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(h.key), "=", h.revision)).Then(clientv3.OpDelete(h.key)).Commit()
	switch {
	case err != nil:
		return failed(ctx, err)
	case !answer.Succeeded:
		return driver.ErrLost
	}
	s := h.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if list := s.spares[h.seconds]; !s.closed && len(list) < maxSpares {
		s.spares[h.seconds] = append(list, spare{h.lease, h.From()})
	}
	return nil
}
