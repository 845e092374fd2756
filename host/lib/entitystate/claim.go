package entitystate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// The parts of its time after which a claim is renewed, and after which a renewal that failed is tried again. It ends for who has it
// marginPart of its time before others may take it: for clocks that do not run alike, and for what is under way.
const (
	renewPart  = 3
	retryPart  = 12
	marginPart = 16
)

// releaseTime is how long giving up a claim may take once the context has ended.
const releaseTime = 5 * time.Second

// holding is a claim of this process's, which is renewed until stop.
type holding struct {
	s      *States
	c      *Change
	record *record       // what is kept, with the claim; the renewing goroutine's until stop has returned
	unsure bool          // a renewal failed: what is kept may be what it was to keep
	from   time.Time     // since when the claim counts at the latest, on this process's monotonic clock
	over   chan struct{} // closed once nothing is renewed any more
	lost   context.Context
	lose   context.CancelCauseFunc
	end    context.CancelFunc
}

// claim claims an entity, and has that renewed.
func (s *States) claim(ctx context.Context, c *Change, before *record, value kernel.Value) (*holding, error) {
	h := &holding{s: s, c: c, from: time.Now(), over: make(chan struct{})}
	now, err := s.records.Now(ctx)
	if err != nil {
		return nil, err
	}
	h.record = before.claimed(rand.Text(), now.Add(s.opts.Claim))
	if err := s.swap(ctx, c, value, h.record); err != nil {
		return nil, err
	}
	// It is renewed until the handlers have returned, whatever ends their context, and neither learns what they do nor has them learn.
	ctx = kernel.WithFlow(context.WithoutCancel(ctx), kernel.NewFlow(nil))
	h.lost, h.lose = context.WithCancelCause(ctx)
	ctx, h.end = context.WithCancel(ctx)
	go h.keep(ctx)
	return h, nil
}

// stop ends the renewing.
func (h *holding) stop() {
	h.end()
	<-h.over
	h.lose(context.Canceled)
}

// keep renews the claim until ctx ends or the claim is lost.
func (h *holding) keep(ctx context.Context) {
	defer close(h.over)
	for next := h.s.opts.Claim / renewPart; pause(ctx, next); {
		began := time.Now()
		bound, cancel := context.WithDeadline(ctx, h.deadline())
		ours, err := h.renew(bound)
		cancel()
		switch {
		case err == nil && ours:
			h.from, next = began, h.s.opts.Claim/renewPart
		case err == nil:
			h.lose(lostClaim(h.c, "the entity was registered anew or removed, or the claim ended and another took it", nil))
			return
		case !time.Now().Before(h.deadline()):
			h.lose(lostClaim(h.c, "it could not be renewed in time: "+kernel.Quote(err.Error()), err))
			return
		default:
			next = min(h.s.opts.Claim/retryPart, time.Until(h.deadline()))
		}
	}
}

func (h *holding) deadline() time.Time {
	return h.from.Add(h.s.opts.Claim - h.s.opts.Claim/marginPart)
}

// pause waits, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// renew has the claim's time count anew, and reports whether it is still this process's.
func (h *holding) renew(ctx context.Context) (bool, error) {
	now, err := h.s.records.Now(ctx)
	if err != nil {
		return false, err
	}
	is, err := h.current(ctx)
	if err != nil {
		return false, orOvertaken(err)
	}
	next := is.claimed(is.Claim.Owner, now.Add(h.s.opts.Claim))
	if err := h.s.swap(ctx, h.c, is.value(), next); err != nil {
		h.unsure = !errors.Is(err, ErrStale)
		return false, orOvertaken(err)
	}
	h.record = next
	return true, nil
}

// orOvertaken is what failed in a renewal, nil where the claim is another's.
func orOvertaken(err error) error {
	if errors.Is(err, ErrStale) {
		return nil
	}
	return err
}

// current returns what is kept of the entity with the claim, or why that is not this process's any more.
func (h *holding) current(ctx context.Context) (*record, error) {
	if !h.unsure {
		return h.record, nil
	}
	r, _, err := h.s.load(ctx, h.c.Tenant, h.c.Entity, h.c.ID)
	switch {
	case errors.Is(err, ErrNotRegistered), err == nil && (r.Claim == nil || r.Claim.Owner != h.record.Claim.Owner):
		return nil, overtaken(h.c)
	case err != nil:
		return nil, err
	}
	h.record, h.unsure = r, false
	return r, nil
}

// callHandlers calls the handlers, in a context that ends with the claim.
func (h *holding) callHandlers(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.lost, func() { cancel(context.Cause(h.lost)) })()
	for _, handler := range h.s.handlers[h.c.Entity] {
		given := *h.c // a handler's own
		if err := handler(ctx, &given); err != nil {
			return h.why(err)
		}
	}
	return nil
}

// why is a handler's error, behind that of the claim where it was lost.
func (h *holding) why(err error) error {
	if cause := context.Cause(h.lost); cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

// release gives up the claim, also after the context has ended. One that has ended
// meanwhile, with whatever came after it, is nobody's to give up.
func (h *holding) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseTime)
	defer cancel()
	is, err := h.current(ctx)
	if err != nil {
		return orOvertaken(err)
	}
	_, err = h.s.records.CompareAndSwap(ctx, scope(h.c.Tenant), key(h.c.Entity, h.c.ID), is.value(), is.released().value(), 0)
	return err
}

func lostClaim(c *Change, why string, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("the claim on %s/%s is lost", quote(c.Entity), quote(c.ID)), Why: why, Fix: "read the state, and decide again", Err: errors.Join(ErrStale, err)}
}
