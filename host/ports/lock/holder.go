package lock

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Holder takes locks by their names, as hexDAG's port has it, for one owner. What it
// holds is renewed, and only it can release it.
type Holder struct {
	locks  *Locks
	tenant string
	owner  Owner

	mu     sync.Mutex
	leases map[string]*Lease
}

// Holder returns a holder. The caller closes it.
func (l *Locks) Holder(tenant string, owner Owner) *Holder {
	return &Holder{locks: l, tenant: tenant, owner: owner, leases: map[string]*Lease{}}
}

// Acquire takes a lock and reports whether it did, within timeout: 0 is at once, Forever until the
// context ends. A holder that takes what it holds waits in vain, as anybody else does.
func (h *Holder) Acquire(ctx context.Context, name string, timeout time.Duration) (bool, error) {
	lease, err := h.locks.Acquire(ctx, h.tenant, name, Ask{Owner: h.owner, Wait: timeout})
	if kernel.CodeOf(err) == kernel.CodeLockHeld {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lease.Keep()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.leases[name] = lease
	return true, nil
}

// Lease returns the lease of a lock that the holder has acquired, or nil.
func (h *Holder) Lease(name string) *Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.leases[name]
}

// Release gives a lock back; CodeLockLost if the holder does not hold it.
func (h *Holder) Release(ctx context.Context, name string) error {
	h.mu.Lock()
	lease := h.leases[name]
	delete(h.leases, name)
	h.mu.Unlock()
	if lease == nil {
		return kernel.LockLost(name, "this holder did not acquire it")
	}
	return lease.Release(ctx)
}

// IsLocked reports whether somebody holds a lock. It may be over already.
func (h *Holder) IsLocked(ctx context.Context, name string) (bool, error) {
	return h.locks.IsLocked(ctx, h.tenant, name)
}

// Close gives back what the holder holds.
func (h *Holder) Close(ctx context.Context) error {
	h.mu.Lock()
	leases := h.leases
	h.leases = map[string]*Lease{}
	h.mu.Unlock()
	var problems []error
	for _, lease := range leases {
		if err := lease.Release(ctx); err != nil && kernel.CodeOf(err) != kernel.CodeLockLost {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Lead runs f while the owner of ask leads: it holds the lock of that name. f's context ends when
// it leads no longer; once f has returned for that reason, Lead stands for election again, until ctx ends or f
// returns while it leads. f can tell by the lease's token whether it is the same term.
func (l *Locks) Lead(ctx context.Context, tenant, name string, ask Ask, f func(ctx context.Context, lease *Lease) error) error {
	ask.Wait = Forever
	for {
		lease, err := l.Acquire(ctx, tenant, name, ask)
		if err != nil {
			return err
		}
		again, err := l.term(ctx, lease, f)
		if !again {
			return err
		}
	}
}

// term is one term of a leader. again says that it was lost.
func (l *Locks) term(ctx context.Context, lease *Lease, f func(ctx context.Context, lease *Lease) error) (again bool, err error) {
	lease.Keep()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lease.TTL())
		defer cancel()
		if released := lease.Release(ctx); released != nil && kernel.CodeOf(released) != kernel.CodeLockLost {
			err = errors.Join(err, released)
		}
	}()
	bound, cancel := lease.Context(ctx)
	defer cancel()
	err = f(bound, lease)
	return ctx.Err() == nil && !lease.Valid(), err
}

// Leader returns who leads, or nil. It may be over already.
func (l *Locks) Leader(ctx context.Context, tenant, name string) (*Held, error) {
	list, err := l.Holders(ctx, tenant, name, 1)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &slices.Clone(list)[0], nil
}
