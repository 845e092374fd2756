// Package lock is the port to locks: it keeps runs, in one process or in many, from
// doing at once what only one may do. Locks hands out leases; a backend is one of
// the packages below this one and implements package driver. memlock keeps locks in this process.
//
// # What a lease is
//
// A lease ends by itself, after its TTL, unless it is renewed: a holder that dies
// blocks nobody for ever. That also means that a holder that is paused may go on
// after its lease has ended and another holds the lock. So a lease is not mutual
// exclusion. Two things make up for it:
//
//   - Lost fires, by the holder's own clock, before the backend can end the lease.
//   - Every lease has a fencing token, larger than those of all earlier leases of the
//     lock. Artifacts, files, databases, vectors and entities refuse a write under a
//     smaller token than they have seen.
//
// A lock of n permits has up to n holders at once: a semaphore. Their tokens say nothing
// about who is stale, and fence nothing.
package lock

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

type (
	// Owner says who holds a lock.
	Owner = driver.Owner
	// Held is a permit of a lock that somebody holds.
	Held = driver.Holder
	// Promises is what a backend holds.
	Promises = driver.Promises
)

// The limits that apply unless Options says otherwise.
const (
	DefaultTTL     = 30 * time.Second
	DefaultMaxTTL  = 24 * time.Hour
	DefaultMaxHeld = 256

	minTTL  = 10 * time.Millisecond
	maxName = 256
)

// Options limits leases. The zero value is usable.
type Options struct {
	TTL     time.Duration // of leases that name none
	MaxTTL  time.Duration // the longest that may be asked for
	MaxHeld int           // how many locks one run holds at once
}

// Check returns a CodeConfig error for limits that cannot be.
func (o Options) Check() error {
	d := o.orDefault()
	if d.TTL < minTTL || d.MaxTTL < d.TTL || d.MaxHeld < 1 {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the limits of locks cannot be used", Why: fmt.Sprintf("ttl is at least %s, and max_ttl at least ttl; max_held is positive", minTTL), Fix: "leave them out for the defaults"}
	}
	return nil
}

// Within returns a CodeConfig error where they allow longer leases than a backend's, which ends them earlier than
// their holders know.
func (o Options) Within(most time.Duration) error {
	if longest := o.orDefault().MaxTTL; most > 0 && longest > most {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the limits of locks cannot be used", Why: fmt.Sprintf("max_ttl is %s, and this adapter's leases last %s at most", longest, most), Fix: "lower ttl and max_ttl, or choose another adapter"}
	}
	return nil
}

func (o Options) orDefault() Options {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.MaxTTL == 0 {
		o.MaxTTL = max(DefaultMaxTTL, o.TTL)
	}
	if o.MaxHeld == 0 {
		o.MaxHeld = DefaultMaxHeld
	}
	return o
}

// Locks hands out leases of the locks of a store. It may be used by several
// goroutines. Errors are *kernel.Error: CodeArguments for names and times that cannot
// be, CodeLockHeld for a lock that was not to be had in time, CodeLockLost for a
// lease that has ended, and those of [driver.Store].
type Locks struct {
	store    driver.Store
	promises Promises
	opts     Options
}

// New returns the locks of a store, whose MaxTTL is the backend's where that is less. Closing them closes the store.
func New(store driver.Store, opts Options) *Locks {
	l := &Locks{store: store, promises: store.Promises(), opts: opts.orDefault()}
	if most := l.promises.MaxTTL; most > 0 {
		l.opts.MaxTTL = min(l.opts.MaxTTL, most)
	}
	return l
}

// Close releases what the backend holds. Leases that are held end with their TTL.
func (l *Locks) Close() error { return l.store.Close() }

// Promises returns what the backend holds.
func (l *Locks) Promises() Promises { return l.promises }

// Ask says how to acquire. The zero value asks for the lock alone, once, for the default TTL.
type Ask struct {
	Owner   Owner         // for people
	TTL     time.Duration // 0 is the default
	Permits int           // how many may hold the lock at once; 0 is 1. All say the same of one lock
	// Wait is how long to wait for the lock: 0 not at all, Forever until the context ends.
	Wait time.Duration
}

// Forever is a Wait without an end of its own.
const Forever time.Duration = -1

// Acquire takes a lease of a tenant's lock, which the caller releases. It is not
// renewed unless Keep says so.
func (l *Locks) Acquire(ctx context.Context, tenant, name string, ask Ask) (*Lease, error) {
	lease := &Lease{locks: l, request: driver.Request{Key: driver.Key{Tenant: tenant, Name: name}, Owner: ask.Owner, TTL: ask.TTL, Permits: ask.Permits, Wait: ask.Wait != 0}}
	if err := l.check(&lease.request); err != nil {
		return nil, err
	}
	wait := ctx
	if ask.Wait > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, ask.Wait)
		defer cancel()
	}
	held, err := l.store.Acquire(wait, &lease.request)
	if err != nil {
		return nil, l.notAcquired(ctx, wait, name, ask.Wait, err)
	}
	lease.held = held
	return lease, nil
}

// check fills in what a request leaves out and refuses what cannot be.
func (l *Locks) check(r *driver.Request) error {
	if err := checkName(r.Name); err != nil {
		return err
	}
	if r.TTL == 0 {
		r.TTL = l.opts.TTL
	}
	if r.Permits == 0 {
		r.Permits = 1
	}
	if r.TTL < minTTL || r.TTL > l.opts.MaxTTL {
		return argument("ttl is "+r.TTL.String(), fmt.Sprintf("it is from %s to %s (max_ttl)", minTTL, l.opts.MaxTTL))
	}
	if r.Permits < 1 || r.Permits > l.promises.MaxPermits {
		return argument(fmt.Sprintf("there are to be %d permits", r.Permits), fmt.Sprintf("this backend allows 1 to %d", l.promises.MaxPermits))
	}
	return nil
}

func checkName(name string) error {
	if plain(name) {
		return nil
	}
	bad := name == "" || len(name) > maxName || !utf8.ValidString(name)
	for _, r := range name {
		bad = bad || !unicode.IsPrint(r)
	}
	if bad {
		return argument("the name "+kernel.Quote(name)+" cannot be used", fmt.Sprintf("it is 1 to %d bytes of printable characters", maxName))
	}
	return nil
}

// plain reports whether a name is of ASCII's printable characters alone, as most are.
func plain(name string) bool {
	for i := range len(name) {
		if name[i] < ' ' || name[i] > '~' {
			return false
		}
	}
	return name != "" && len(name) <= maxName
}

// notAcquired is the error of a lock that was not to be had, or of a store that failed.
func (l *Locks) notAcquired(ctx, wait context.Context, name string, waited time.Duration, err error) error {
	var known *driver.HeldError
	if !errors.Is(err, driver.ErrHeld) && (ctx.Err() != nil || wait.Err() == nil) {
		return l.failed(ctx, name, err)
	}
	e := &kernel.Error{Code: kernel.CodeLockHeld, What: "the lock " + kernel.Quote(name) + " is held", Why: "somebody else holds it", Fix: "wait longer (timeout), or see who it is: hexdag locks who " + kernel.Quote(name), Err: driver.ErrHeld}
	if waited > 0 {
		e.Why += fmt.Sprintf(", and %s were not enough", waited)
	}
	if errors.As(err, &known) {
		e.RetryAfter = known.After
	}
	return e
}

// Holders returns those who hold a tenant's locks, at most limit, or one lock if name is not "". It is
// for people: what it says may be over already.
func (l *Locks) Holders(ctx context.Context, tenant, name string, limit int) ([]Held, error) {
	if name != "" {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	list, err := l.store.Holders(ctx, tenant, name, limit)
	return list, l.failed(ctx, name, err)
}

// IsLocked reports whether all permits of a lock are held. It is for people: it may be
// over already, and whoever wants to know acquires.
func (l *Locks) IsLocked(ctx context.Context, tenant, name string) (bool, error) {
	if err := checkName(name); err != nil {
		return false, err
	}
	list, err := l.store.Holders(ctx, tenant, name, l.promises.MaxPermits)
	if err != nil {
		return false, l.failed(ctx, name, err)
	}
	return len(list) > 0 && len(list) >= list[0].Permits, nil
}

// failed gives a store's error a code. The context's end wins over what the
// store made of it.
func (l *Locks) failed(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	var known *kernel.Error
	switch {
	case errors.Is(err, driver.ErrLost):
		e := kernel.LockLost(name, "its lease ended, or was never this holder's")
		e.Err = err
		return e
	case errors.Is(err, driver.ErrPermits):
		e := argument("the lock "+kernel.Quote(name)+" has another number of permits", "those who hold it named another one")
		e.Fix, e.Err = "name the same number wherever the lock is used, or use another name", err
		return e
	case errors.Is(err, driver.ErrFull):
		return &kernel.Error{Code: kernel.CodeLimit, What: "the lock " + kernel.Quote(name) + " was not acquired", Why: err.Error(), Fix: "release locks, or acquire fewer for shorter", Err: err}
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &known):
		return err
	}
	return &kernel.Error{Code: kernel.CodeFailed, What: "the lock " + kernel.Quote(name) + ": the backend failed", Why: kernel.Quote(err.Error()), Err: err}
}

func argument(what, why string) *kernel.Error {
	return &kernel.Error{Code: kernel.CodeArguments, What: "lock: " + what, Why: why}
}
