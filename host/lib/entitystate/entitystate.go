// Package entitystate keeps the states of entities - orders, tickets, contracts -
// that live longer than a run, and changes them by the rules of state machines.
//
// Every tenant has entities of its own. An entity is a type and an id; if a machine
// governs its type, only the machine's transitions happen, else any does.
//
// # A transition, in its order
//
//  1. The entity is read. It has to be registered, and the machine and the guard
//     to allow the change.
//  2. The entity is claimed: until the claim ends, no other transition of it begins. It is renewed while the handlers run, however
//     long they take.
//  3. The handlers of its type are called, in the order of their registration.
//  4. State and history change, both at once, and an event says so.
//
// If a handler fails, the claim is given up; state and history are as they were,
// which is also what everybody saw meanwhile. What earlier handlers did is not
// undone. If the process dies, or does not reach the keeper any more, the claim ends by itself, within Options.Claim by the
// keeper's clock; the handlers' context ends before. Of several transitions that begin in the same state, in however many
// processes, one happens.
//
// A change by a run that holds locks is refused where the entity was changed under a larger
// token of one of them: the run is a stale holder. An entity that is cleaned up takes what it has seen with it.
package entitystate

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// The causes of errors, for errors.Is.
var (
	ErrNotRegistered     = errors.New("not registered")       // CodeNotFound
	ErrInvalidTransition = errors.New("invalid transition")   // CodeFailed: the machine, or a guard, does not allow it
	ErrStale             = errors.New("the state is another") // CodeFailed: another transition came first; CodeRetry: one is going on
)

// Transitioned is the type of the event of a transition, in hexDAG's words. Its
// Result is {entity_type, entity_id, from_state, to_state}.
const Transitioned kernel.EventType = "StateTransitionEvent"

// FreeState is the initial state of an entity that no machine governs.
const FreeState = "created"

// Change is a transition that is under way.
type Change struct {
	Tenant, Entity, ID string
	From, To           string
	Reason             string
	Payload            kernel.Value
	Node               string // that asked for it, if any
}

// Handler takes part in the transitions of a type. Its context ends with the
// claim. An error keeps the transition from happening.
type Handler func(ctx context.Context, c *Change) error

// Options configures what New makes. The zero value is usable without guards.
type Options struct {
	// Guard reports whether an edge's guard holds. An error blocks the
	// transition, too.
	Guard func(ctx context.Context, guard string, c *Change) (bool, error)
	// Begins has an entity that a machine governs begin in the machine's initial state when it is first moved.
	Begins bool
	// Changed, if set, is told of every transition that has happened, as {entity_type,
	// entity_id, from_state, to_state}, with its reason and payload.
	Changed func(ctx context.Context, c *Change)
	// Claim is how long an entity stays claimed by a process that has died; 0 means a minute.
	Claim time.Duration
	// Now is the time of what is kept in histories; nil means time.Now.
	Now func() time.Time
}

// States keeps entities. It may be used by several goroutines once its handlers
// are registered. Errors are *kernel.Error: CodeArguments for names that
// cannot be, those of the variables above, a handler's own, and those of the keeper.
type States struct {
	records  Keeper
	machines map[string]*Machine
	handlers map[string][]Handler
	opts     Options
}

// New returns the entities that are kept by k. Errors are of CodeConfig.
func New(k Keeper, machines []Machine, opts Options) (*States, error) {
	if opts.Claim <= 0 {
		opts.Claim = time.Minute
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s := &States{records: k, machines: map[string]*Machine{}, handlers: map[string][]Handler{}, opts: opts}
	var problems []error
	for _, machine := range machines {
		err := machine.Check()
		if _, twice := s.machines[machine.Entity]; twice && err == nil {
			err = &kernel.Error{Code: kernel.CodeConfig, What: "there are two state machines " + quote(machine.Entity), Fix: "keep one of them"}
		}
		if opts.Guard == nil && hasGuard(&machine) && err == nil {
			err = &kernel.Error{Code: kernel.CodeConfig, What: "state machine " + quote(machine.Entity) + " has guards, which nothing here evaluates", Fix: "remove them"}
		}
		problems = append(problems, err)
		s.machines[machine.Entity] = &machine
	}
	return s, errors.Join(problems...)
}

func hasGuard(m *Machine) bool {
	for _, edges := range m.Transitions {
		for _, edge := range edges {
			if edge.Guard != "" {
				return true
			}
		}
	}
	return false
}

// Handle has h called in the transitions of a type, after those before it.
func (s *States) Handle(entity string, h Handler) {
	s.handlers[entity] = append(s.handlers[entity], h)
}

// Register puts an entity into its initial state: the one that is named, or
// the machine's, or FreeState. An entity that is there begins anew.
func (s *States) Register(ctx context.Context, tenant, entity, id, initial string) (state string, err error) {
	if err := checkNames(entity, id); err != nil {
		return "", err
	}
	machine := s.machines[entity]
	if initial == "" {
		initial = FreeState
		if machine != nil {
			initial = machine.Initial
		}
	}
	if err := checkState(initial); err != nil {
		return "", err
	}
	if machine != nil && !has(machine, initial) {
		return "", &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("%s/%s cannot begin in %s", quote(entity), quote(id), quote(initial)), Why: "it is no state of its machine", Fix: "leave it out for " + quote(machine.Initial), Err: ErrInvalidTransition}
	}
	return initial, s.begin(ctx, tenant, entity, id, initial, true)
}

// tries is how often a registration, or a removal, that others come before is tried.
const tries = 8

// begin keeps the record of an entity that begins; what was seen of locks stays. One that is there begins anew, or, where it is not to,
// stays as it is: somebody else was first.
func (s *States) begin(ctx context.Context, tenant, entity, id, initial string, anew bool) error {
	for range tries {
		r := newRecord(initial, s.opts.Now())
		old, value, err := s.load(ctx, tenant, entity, id)
		switch {
		case !anew && !errors.Is(err, ErrNotRegistered):
			return err
		case old != nil:
			r.Fences = old.Fences
		case !errors.Is(err, ErrNotRegistered) && value == nil:
			return err
		}
		if r, err = r.under(ctx, s.opts.Now()); err != nil {
			return err
		}
		var done bool
		if value == nil {
			done, err = s.records.Create(ctx, scope(tenant), key(entity, id), r.value(), 0)
		} else {
			done, err = s.records.CompareAndSwap(ctx, scope(tenant), key(entity, id), value, r.value(), 0)
		}
		if done || err != nil {
			return err
		}
	}
	return busy(entity, id, "registered")
}

func busy(entity, id, done string) error {
	return &kernel.Error{Code: kernel.CodeRetry, What: fmt.Sprintf("%s/%s was not %s", quote(entity), quote(id), done), Why: "others change it all the time", Fix: "try again", Err: ErrStale}
}

// State returns an entity's state.
func (s *States) State(ctx context.Context, tenant, entity, id string) (string, error) {
	r, _, err := s.load(ctx, tenant, entity, id)
	if err != nil {
		return "", err
	}
	return r.State, nil
}

// History returns the latest changes of an entity, oldest first, at most
// MaxHistory. The first of all comes from nowhere.
func (s *States) History(ctx context.Context, tenant, entity, id string) ([]Entry, error) {
	r, _, err := s.load(ctx, tenant, entity, id)
	if err != nil {
		return nil, err
	}
	return r.History, nil
}

// Summary is what is left of an entity that was cleaned up.
type Summary struct {
	FinalState  string
	Lifetime    time.Duration
	Transitions int64
}

// Cleanup removes an entity, whose transitions under way come to nothing.
func (s *States) Cleanup(ctx context.Context, tenant, entity, id string) (*Summary, error) {
	for range tries {
		r, value, err := s.load(ctx, tenant, entity, id)
		if err != nil {
			return nil, err
		}
		now := s.opts.Now()
		if r, err = r.under(ctx, now); err != nil {
			return nil, err
		}
		rest, ttl := r.removed() // it ends by itself: to delete it could delete what somebody registers meanwhile
		done, err := s.records.CompareAndSwap(ctx, scope(tenant), key(entity, id), value, rest.value(), ttl)
		if err != nil {
			return nil, err
		}
		if done {
			return &Summary{FinalState: r.State, Lifetime: now.Sub(r.Created), Transitions: r.Transitions}, nil
		}
	}
	return nil, busy(entity, id, "removed")
}

// load returns an entity's record, and the value that it was read from, also where that is no record, or
// one of an entity that was removed.
func (s *States) load(ctx context.Context, tenant, entity, id string) (*record, kernel.Value, error) {
	if err := checkNames(entity, id); err != nil {
		return nil, nil, err
	}
	value, found, err := s.records.Get(ctx, scope(tenant), key(entity, id))
	if err != nil {
		return nil, nil, err
	}
	if !found {
		return nil, nil, notRegistered(entity, id)
	}
	r, err := parseRecord(value)
	if err != nil {
		return nil, value, &kernel.Error{Code: kernel.CodeFailed, What: "the state of " + quote(entity) + "/" + quote(id) + " cannot be read", Why: kernel.Quote(err.Error()), Fix: "register it anew", Err: err}
	}
	if r.Removed {
		return r, value, notRegistered(entity, id)
	}
	return r, value, nil
}

// scope keeps entities apart from what else is kept of the tenant, where that is in one place: a memory.set could reach them.
func scope(tenant string) string { return "entity_state\x00" + tenant }

// key of an entity; a type has no colon.
func key(entity, id string) string { return entity + ":" + id }

// maxID bounds an entity's id, and maxState a state, in bytes.
const (
	maxID    = 256
	maxState = 64
)

func checkNames(entity, id string) error {
	if !typeName.MatchString(entity) {
		return argument("the entity type "+quote(entity)+" cannot be used", "it is 1 to 64 letters, digits, _, - and ., the first a letter or _")
	}
	return checkText("the entity's id", id, maxID)
}

func checkState(state string) error { return checkText("the state", state, maxState) }

func checkText(what, text string, most int) error {
	bad := text == "" || len(text) > most || !utf8.ValidString(text)
	for _, r := range text {
		bad = bad || !unicode.IsPrint(r)
	}
	if bad {
		return argument(what+" "+quote(text)+" cannot be used", fmt.Sprintf("it is 1 to %d bytes of printable characters", most))
	}
	return nil
}

func has(m *Machine, state string) bool {
	for _, s := range m.states() {
		if s == state {
			return true
		}
	}
	return false
}

func argument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: what, Why: why}
}

func notRegistered(entity, id string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: fmt.Sprintf("Entity %s/%s is not registered", quote(entity), quote(id)), Fix: "register it first", Err: ErrNotRegistered}
}

func cannot(c *Change, why string) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: fmt.Sprintf("Cannot transition %s/%s from %s to %s", quote(c.Entity), quote(c.ID), quote(c.From), quote(c.To)), Why: why, Fix: "see the entity's state machine", Err: ErrInvalidTransition}
}
