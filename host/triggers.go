package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/tracing"
)

// Trigger has events start runs of a pipeline.
type Trigger struct {
	// Name is the trigger's: letters, digits, _ and -. On a bus that is durable the trigger goes on, under its
	// name, where it was.
	Name     string
	On       []string // patterns of topics
	Pipeline *Pipeline
	// When, if set, says whether an event starts a run. One that fails starts none.
	When func(*eventbus.Event) (bool, error)
	// Input makes a run's input; nil gives the event's data if that is an object, else {event: the event}.
	Input func(*eventbus.Event) (any, error)

	Concurrency int // runs at once; 0 is 1. Events of one key start runs one after the other.
	// Retries is how often a run that failed is made again, with back-off, before the event is a dead
	// letter. With 0 a run that failed is done.
	Retries   int
	PerMinute int // runs that begin within a minute at most; the rest wait; 0 is no limit
	// Dedup, if set, is what of several events within Window lets one start a run.
	Dedup     func(*eventbus.Event) (string, error)
	Window    time.Duration
	Start     eventbus.Start // where a new trigger begins
	Principal string         // who runs; "" means the configuration's

	pace *pace
}

// Triggered is what came of an event for a trigger, or for a module that observes.
type Triggered struct {
	Trigger string
	Module  string
	Event   *eventbus.Event
	Result  *Result // nil where no run began
	Skipped string  // why none did: "when", "dedup", "begun before"
	Err     error
}

// compile makes a trigger of the configuration one in Go.
func (h *Host) compile(ctx context.Context, spec pipeline.TriggerSpec) (*Trigger, error) {
	p, err := h.Load(ctx, spec.Pipeline, LoadOptions{})
	if err != nil {
		return nil, kernel.At(err, spec.Where)
	}
	t := &Trigger{
		Name: spec.Name, On: spec.On, Pipeline: p, Concurrency: spec.Concurrency, Retries: spec.Retries, PerMinute: spec.PerMinute,
		Window: spec.Window, Start: eventbus.Start{Beginning: spec.Beginning}, Principal: spec.Principal,
	}
	if spec.When != nil {
		t.When = func(e *eventbus.Event) (bool, error) {
			scope, err := eventScope(e)
			if err != nil {
				return false, err
			}
			return spec.When.Predicate(scope)
		}
	}
	if spec.Dedup != nil {
		t.Dedup = func(e *eventbus.Event) (string, error) {
			scope, err := eventScope(e)
			if err != nil {
				return "", err
			}
			v, err := spec.Dedup.Eval(scope)
			if err != nil {
				return "", err
			}
			text, err := kernel.EncodeJSON(v)
			return string(text), err
		}
	}
	if len(spec.Input) > 0 {
		t.Input = func(e *eventbus.Event) (any, error) { return inputOf(spec.Input, e) }
	}
	return t, nil
}

func inputOf(fields []pipeline.TriggerField, e *eventbus.Event) (any, error) {
	scope, err := eventScope(e)
	if err != nil {
		return nil, err
	}
	input := make(map[string]any, len(fields))
	for _, f := range fields {
		input[f.Name] = f.Literal
		if f.Program == nil {
			continue
		}
		if input[f.Name], err = f.Program.Eval(scope); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return input, nil
}

// eventScope is what expressions see of an event: pipeline.EventNames.
func eventScope(e *eventbus.Event) (expr.Map, error) {
	var data kernel.Value
	if len(e.Data) > 0 {
		var err error
		if data, err = kernel.DecodeJSON(e.Data); err != nil {
			return nil, err
		}
	}
	labels := map[string]any{}
	for name, label := range e.Labels {
		labels[name] = label
	}
	scope := expr.Map{
		"data": data, "topic": e.Topic, "type": e.Type, "key": e.Key, "id": e.ID, "source": e.Source, "time": e.Time.Format(time.RFC3339Nano),
		"run_id": e.RunID, "tenant": e.Tenant, "hops": kernel.Number(int64(e.Hops)), "labels": labels, "dead": nil,
	}
	if d := e.Dead; d != nil {
		scope["dead"] = map[string]any{"topic": d.Topic, "id": d.ID, "group": d.Group, "attempts": kernel.Number(int64(d.Attempts)), "cause": d.Cause}
	}
	return scope, nil
}

func defaultInput(e *eventbus.Event) (any, error) {
	event, err := eventbus.EventValue(e)
	if err != nil {
		return nil, err
	}
	if fields, ok := event["data"].(map[string]any); ok {
		return fields, nil
	}
	return map[string]any{"event": event}, nil
}

// fire decides whether an event starts a run, and runs it.
func (t *Trigger) fire(ctx context.Context, l *Listener, d *eventbus.Delivery) (result error) {
	e := d.Event
	told, dealt := &Triggered{Trigger: t.Name, Event: e}, true
	defer func() {
		if dealt {
			told.Err = errors.Join(told.Err, result)
			l.tell(told)
		}
	}()
	if t.When != nil {
		if is, err := t.When(e); err != nil || !is {
			told.Skipped, told.Err = "when", err
			return nil
		}
	}
	if most := l.host.bus.MaxHops(); e.Hops >= most {
		return eventbus.Term(&kernel.Error{Code: kernel.CodeLimit, What: "triggers start each other in a circle", Why: fmt.Sprintf("%d events led to this one, max_hops is %d", e.Hops, most), Fix: "have when: leave out what the trigger's own pipeline causes"})
	}
	input, err := t.input(e)
	if err != nil {
		return eventbus.Term(&kernel.Error{Code: kernel.CodeInput, What: "trigger " + kernel.Quote(t.Name) + " cannot make its input of the event", Why: err.Error(), Err: err})
	}
	first, release, err := t.first(ctx, l.host, e)
	if err != nil || !first {
		told.Skipped = "dedup"
		return err
	}
	if err := t.turn(ctx, l); err != nil {
		release(context.WithoutCancel(ctx))
		dealt = false
		return err
	}
	done := l.began()
	told.Result, err = t.run(ctx, l, e, input)
	done()
	if told.Result == nil {
		told.Skipped = "begun before"
		return err
	}
	return t.settle(ctx, told.Result, d, release)
}

// run runs the pipeline on an event. There is no result where runs are durable, and the event has had its run: whoever has that goes on with it.
func (t *Trigger) run(ctx context.Context, l *Listener, e *eventbus.Event, input any) (*Result, error) {
	h := l.host
	ctx = tracing.After(ctx, e.Trace)
	opts := RunOptions{
		Principal: t.Principal, Labels: map[string]string{"trigger": t.Name, "event": e.ID}, InputLabels: kernel.LabelsOfEvent(e.Labels, e.Topic), Observer: l.opts.Observer,
	}
	if !h.opts.Durable || h.executor != nil {
		return t.Pipeline.Run(ctx, input, opts), nil
	}
	j, err := h.openJournals(ctx)
	if err != nil {
		return nil, err
	}
	failed := 0
	for try := 0; ; try++ {
		opts.RunID = madeRunID(e.Time, h.tenant(), t.Name, e.Source, e.ID, strconv.Itoa(try))
		result := t.Pipeline.Run(ctx, input, opts)
		if result.Err == nil {
			return result, nil
		}
		began := kernel.CodeOf(result.Err) != kernel.CodeRunExists
		was, err := j.store.Get(ctx, h.tenant(), opts.RunID)
		switch {
		case began && err == nil && was.Status == driver.Running: // it goes on elsewhere, or when its journal is there again
			return nil, eventbus.GiveBack(result.Err)
		case began:
			return result, nil // without a journal: it was refused
		case err != nil:
			return nil, err
		}
		switch was.Status {
		case driver.Running:
			r, err := h.RecoverRun(ctx, opts.RunID, opts)
			switch {
			case err == nil:
				return r.Result, nil
			case kernel.CodeOf(err) == kernel.CodeFenced: // it is under way, or its host's claim has not ended yet
				return nil, eventbus.GiveBack(err)
			case !errors.Is(err, errNeverBegan):
				return nil, err
			}
		case driver.Status(engine.Cancelled): // with its host: it is made anew
		case driver.Status(engine.Failed):
			if failed++; failed > t.Retries {
				return nil, nil
			}
		default:
			return nil, nil
		}
	}
}

// turn waits until one more run may begin. Where the listener closes before, the event is for who listens next.
func (t *Trigger) turn(ctx context.Context, l *Listener) error {
	if t.pace == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.open, cancel)()
	if err := t.pace.wait(ctx); err != nil {
		return eventbus.GiveBack(fmt.Errorf("max_per_minute is %d: %w", t.PerMinute, err))
	}
	return nil
}

func (t *Trigger) input(e *eventbus.Event) (any, error) {
	if t.Input == nil {
		return defaultInput(e)
	}
	return t.Input(e)
}

// settle decides whether a run that ended is made again.
func (t *Trigger) settle(ctx context.Context, r *Result, d *eventbus.Delivery, release func(context.Context)) error {
	switch {
	case r.Err == nil:
		return nil
	case ctx.Err() != nil: // stopped under way: it is made again by whoever listens next
		release(context.WithoutCancel(ctx))
		return r.Err
	case t.Retries == 0 || r.Status == engine.Denied:
		return nil // the run's own event tells of it
	case d.Attempt > t.Retries:
		release(ctx) // when it is redriven it is the first again
		return eventbus.Term(r.Err)
	}
	release(ctx)
	return r.Err
}

// first reports whether the event is the first of its kind within the window. release takes that
// back.
func (t *Trigger) first(ctx context.Context, h *Host, e *eventbus.Event) (first bool, release func(context.Context), err error) {
	release = func(context.Context) {}
	if t.Dedup == nil {
		return true, release, nil
	}
	key, err := t.Dedup(e)
	if err != nil {
		return false, release, eventbus.Term(&kernel.Error{Code: kernel.CodeInput, What: "trigger " + kernel.Quote(t.Name) + " has no dedup key for the event", Why: err.Error(), Err: err})
	}
	scope := "trigger\x00" + h.tenant() // out of reach of memory's own operations
	key = t.Name + ":" + digestOf(key)
	first, err = h.memory.Create(ctx, scope, key, e.ID, t.Window)
	if err == nil && !first { // this very event, delivered again, is no other
		var v kernel.Value
		if v, _, err = h.memory.Get(ctx, scope, key); v == e.ID {
			first = true
		}
	}
	return first, func(ctx context.Context) { _, _ = h.memory.Delete(ctx, scope, key) }, err
}
