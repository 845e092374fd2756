package entitystate

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
)

// Transition changes the state of an entity, as the package's documentation has
// it. c says what is to change; its From is filled in.
func (s *States) Transition(ctx context.Context, c *Change) error {
	if err := checkState(c.To); err != nil {
		return err
	}
	if c.Reason != "" {
		if err := checkText("the reason", c.Reason, maxReason); err != nil {
			return err
		}
	}
	before, value, err := s.first(ctx, c)
	if err != nil {
		return err
	}
	if before, err = before.under(ctx, s.opts.Now()); err != nil {
		return err
	}
	c.From = before.State
	if err := s.allowed(ctx, c); err != nil {
		return err
	}
	if err := s.free(ctx, before, c); err != nil {
		return err
	}
	if len(s.handlers[c.Entity]) > 0 {
		err = s.handled(ctx, c, before, value)
	} else {
		err = s.change(ctx, c, before, value)
	}
	if err != nil {
		return err
	}
	if s.opts.Changed != nil {
		s.opts.Changed(ctx, c)
	}
	kernel.Emit(ctx, &kernel.Event{Type: Transitioned, Node: c.Node, Entity: c.Entity, EntityID: c.ID, FromState: c.From, ToState: c.To, Reason: kernel.Quote(c.Reason), Result: c.value()})
	return nil
}

// value is a change as operations and events show it.
func (c *Change) value() map[string]any {
	return map[string]any{"entity_type": c.Entity, "entity_id": c.ID, "from_state": c.From, "to_state": c.To}
}

// allowed returns why the machine does not let a change happen.
func (s *States) allowed(ctx context.Context, c *Change) error {
	machine := s.machines[c.Entity]
	if machine == nil {
		return nil
	}
	edge, err := machine.edge(c)
	if err != nil || edge.Guard == "" {
		return err
	}
	holds, err := s.opts.Guard(ctx, edge.Guard, c)
	switch {
	case err != nil:
		return cannot(c, "its guard "+quote(edge.Guard)+" failed: "+kernel.Quote(err.Error()))
	case !holds:
		return cannot(c, "its guard "+quote(edge.Guard)+" does not hold")
	}
	return nil
}

// free refuses a change while another is under way.
func (s *States) free(ctx context.Context, r *record, c *Change) error {
	if r.Claim == nil {
		return nil
	}
	now, err := s.records.Now(ctx)
	if err != nil || !r.Claim.Until.After(now) {
		return err
	}
	return &kernel.Error{Code: kernel.CodeRetry, What: fmt.Sprintf("another transition of %s/%s is under way", quote(c.Entity), quote(c.ID)), Why: "one happens at a time", Fix: "try again", Err: ErrStale}
}

// first returns the entity that is to be changed, and the value that it was read from. One of a machine begins with its first
// transition, where the options say so.
func (s *States) first(ctx context.Context, c *Change) (*record, kernel.Value, error) {
	r, value, err := s.load(ctx, c.Tenant, c.Entity, c.ID)
	machine := s.machines[c.Entity]
	if !s.opts.Begins || machine == nil || !errors.Is(err, ErrNotRegistered) {
		return r, value, err
	}
	if err := s.begin(ctx, c.Tenant, c.Entity, c.ID, machine.Initial, false); err != nil {
		return nil, nil, err
	}
	return s.load(ctx, c.Tenant, c.Entity, c.ID)
}

// handled claims the entity, has the handlers called and changes it. Where that fails, or a handler does, the claim is given up.
func (s *States) handled(ctx context.Context, c *Change, before *record, value kernel.Value) (err error) {
	h, err := s.claim(ctx, c, before, value)
	if err != nil {
		return err
	}
	ended := false
	defer func() {
		h.stop()
		if !ended || err != nil { // a handler panicked, or failed, or the change did not happen
			err = errors.Join(err, h.release(ctx))
		}
	}()
	err = h.callHandlers(ctx)
	ended = true
	if err != nil {
		return err
	}
	h.stop()
	claimed, err := h.current(ctx)
	if err != nil {
		return err
	}
	return s.change(ctx, c, claimed, claimed.value())
}

// change has a change happen, if the entity is still what it was read from.
func (s *States) change(ctx context.Context, c *Change, before *record, value kernel.Value) error {
	now := s.opts.Now()
	before, err := before.under(ctx, now) // a lock may have been lost meanwhile
	if err != nil {
		return err
	}
	return s.swap(ctx, c, value, before.changed(c, now))
}

// swap keeps a record in place of the one that is expected, or fails.
func (s *States) swap(ctx context.Context, c *Change, expected kernel.Value, r *record) error {
	swapped, err := s.records.CompareAndSwap(ctx, scope(c.Tenant), key(c.Entity, c.ID), expected, r.value(), 0)
	if err == nil && !swapped {
		err = overtaken(c)
	}
	return err
}

func overtaken(c *Change) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("%s/%s is no longer as it was in %s", quote(c.Entity), quote(c.ID), quote(c.From)), Why: "another transition came first", Fix: "read the state, and decide again", Err: ErrStale}
}
