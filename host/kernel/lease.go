package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Fence is the token of a lock that a call is made under. Of two tokens of one lock
// the larger is the later holder's: who writes with a smaller one than was seen
// before holds the lock no longer, whatever it thinks.
type Fence struct {
	Lock  string // the lock, the tenant it is of, and what counts its tokens
	Token uint64
}

// Lease is a lock that a run holds.
type Lease interface {
	ID() string
	Name() string
	// Fence returns the token; Lock is "" where several hold the lock at once, of whom none
	// is stale because another came later.
	Fence() Fence
	// Context returns a context that ends with ctx, and with a CodeLockLost cause once the lease has ended, or may have.
	Context(ctx context.Context) (context.Context, context.CancelFunc)
	// Valid reports whether the lease is held for certain.
	Valid() bool
	Release(ctx context.Context) error
}

// Leases are the locks that a run holds, and those of the runs that started it. The zero value has none.
type Leases struct {
	mu     sync.Mutex
	parent *Leases
	held   []ownedLease
	ended  bool
	count  *atomic.Int64 // of all that are held at one run's expense; nil until there is one
}

type ownedLease struct {
	Lease
	owner string
}

// Inherit has the run act under the locks of its parent, too.
func (l *Leases) Inherit(parent *Leases) { l.parent = parent }

// within is Inherit for a part of the parent's run: what both hold counts together.
func (l *Leases) within(parent *Leases) {
	parent.mu.Lock()
	defer parent.mu.Unlock()
	l.parent, l.count = parent, parent.counter()
}

// counter returns what counts the leases, which are locked.
func (l *Leases) counter() *atomic.Int64 {
	if l.count == nil {
		l.count = new(atomic.Int64)
	}
	return l.count
}

// Add has the run hold a lease on behalf of an owner: a module's name, or "" for the pipeline itself.
// It reports false where the run has ended, or holds most already: the caller releases the lease.
func (l *Leases) Add(owner string, lease Lease, most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if l.counter().Add(1) > int64(most) {
		l.count.Add(-1)
		return false
	}
	l.held = append(l.held, ownedLease{lease, owner})
	return true
}

// Find returns the leases of an owner on a name; with an id, the one that has it.
func (l *Leases) Find(owner, name, id string) []Lease {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []Lease
	for _, h := range l.held {
		if h.owner == owner && h.Name() == name && (id == "" || h.ID() == id) {
			found = append(found, h.Lease)
		}
	}
	return found
}

// Names returns the names of the locks that the run itself holds, in the order in which it acquired them.
func (l *Leases) Names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, len(l.held))
	for i, h := range l.held {
		names[i] = h.Name()
	}
	return names
}

// Remove has the run no longer act under a lease.
func (l *Leases) Remove(lease Lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = slices.DeleteFunc(l.held, func(h ownedLease) bool {
		is := h.Lease == lease
		if is {
			l.count.Add(-1)
		}
		return is
	})
}

// Release gives all back, the last first. From then on the run holds none.
func (l *Leases) Release(ctx context.Context) error {
	l.mu.Lock()
	held := l.held
	l.held, l.ended = nil, true
	l.counter().Add(-int64(len(held)))
	l.mu.Unlock()
	var problems []error
	for _, h := range slices.Backward(held) {
		if err := h.Release(ctx); err != nil && CodeOf(err) != CodeLockLost {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// FencesFrom returns the tokens of the locks that the run of ctx holds, in the order of the locks' names. If
// one of them is lost, it is a CodeLockLost error: what is done under a lock is not done without it.
func FencesFrom(ctx context.Context) ([]Fence, error) {
	run := RunFrom(ctx)
	if run == nil {
		return nil, nil
	}
	var fences []Fence
	for l := &run.Leases; l != nil; l = l.parent {
		var err error
		if fences, err = l.appendFences(fences); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(fences, func(a, b Fence) int { return cmp.Or(cmp.Compare(a.Lock, b.Lock), cmp.Compare(a.Token, b.Token)) })
	return fences, nil
}

// appendFences looks at all leases at one moment: who gives one back removes it first, and what is given back meanwhile is not lost.
func (l *Leases) appendFences(fences []Fence) ([]Fence, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		f := h.Fence()
		if f.Lock == "" {
			continue
		}
		if !h.Valid() {
			return nil, LockLost(h.Name(), "its lease was not renewed in time")
		}
		fences = append(fences, f)
	}
	return fences, nil
}

// LockLost is the error of what is done under a lock that is no longer held.
func LockLost(name, why string) *Error {
	return &Error{Code: CodeLockLost, What: "the lock " + Quote(name) + " is no longer held", Why: why, Fix: "acquire it again, and begin anew: somebody else may have written meanwhile; a longer ttl outlasts longer pauses"}
}

// Stale is the error of a resource that has seen a later holder of a lock.
func Stale(f Fence, seen uint64) *Error {
	return &Error{Code: CodeLockLost, What: "a stale holder of the lock " + Quote(f.Lock) + " was refused", Why: fmt.Sprintf("its token is %d, and a later holder has written with %d", f.Token, seen), Fix: "acquire the lock again, and begin anew"}
}
