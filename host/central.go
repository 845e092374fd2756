package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/centralagent"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/lock"
)

// Goal is a run of a pipeline with a central agent that a host is to do, some time.
type Goal = centralagent.Goal

// GoalStatus says how a goal stands.
type GoalStatus = centralagent.Status

// goalTopic is what the host publishes on when a goal is submitted.
const goalTopic = eventbus.HostTopics + "goal.submitted"

// newCentralAgents makes the library of central agents of what the configuration says.
func (h *Host) newCentralAgents() *centralagent.Library {
	spec := h.config.Libraries.CentralAgent
	l := &h.libraries
	opts := centralagent.Options{
		MaxStarts: spec.MaxStarts, MaxRetries: spec.MaxRetries, MaxGoals: spec.MaxGoals,
		Pipelines: l.spawned, Spawner: l.spawner, Registry: l.registry, Auditor: h.audit, Store: h.dataStore,
		Events: h.runEvents, Announce: h.announceGoal, NewID: newRunID,
		Revive: func(ctx context.Context, run string) error {
			defer l.leaving.began()()
			_, err := h.RecoverRun(ctx, run, RunOptions{left: l.leaving.left})
			return err
		},
	}
	for _, p := range spec.Pipelines {
		opts.Rules = append(opts.Rules, centralagent.Rule(p))
	}
	return centralagent.New(opts)
}

// List implements centralagent.Catalog.
func (s *spawnable) List() []string {
	entries, _ := os.ReadDir(s.folder) // without it, there are none
	var names []string
	for _, e := range entries {
		if ending := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains(extensions[1:], ending) {
			names = append(names, strings.TrimSuffix(e.Name(), ending))
		}
	}
	return slices.Compact(names)
}

// Describe implements centralagent.Catalog.
func (s *spawnable) Describe(ctx context.Context, name string) (*centralagent.Described, error) {
	p, done, err := s.use(ctx, name)
	if err != nil {
		return nil, err
	}
	defer done()
	d := &centralagent.Described{Description: p.Description}
	if input := p.Input; input != nil {
		d.Input = input.JSONSchema()
		d.Check = func(v kernel.Value) error {
			_, err := input.Coerce(v)
			return err
		}
	}
	return d, nil
}

// runEvents tells of runs of a tenant that end, or begin to wait, and of goals that are submitted, until stop is called.
func (h *Host) runEvents(ctx context.Context, tenant string, told func(run string)) (stop func(), err error) {
	if h.bus == nil {
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "there is no event bus", Why: "the embedding program brings the port"}
	}
	on := []string{goalTopic}
	for _, status := range []engine.Status{engine.Completed, engine.Failed, engine.Denied, engine.Cancelled, engine.Suspended} {
		on = append(on, pipelineTopic+"*."+string(status))
	}
	s, err := h.bus.Subscribe(ctx, tenant, on, func(_ context.Context, d *eventbus.Delivery) error {
		if d.Event.Topic == goalTopic {
			told("")
		} else {
			told(d.Event.RunID)
		}
		return nil
	}, eventbus.SubscribeOptions{NoDeadLetters: true})
	if err != nil {
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopping)
		defer cancel()
		if err := h.bus.Unsubscribe(ctx, s.ID); err != nil {
			h.log.Warn("a subscription cannot be ended", "error", err.Error())
		}
	}, nil
}

func (h *Host) announceGoal(ctx context.Context, tenant string, g *Goal) {
	run := &kernel.RunContext{Tenant: tenant}
	h.tell(ctx, run, &eventbus.Event{ID: g.ID + ".submitted", Type: goalTopic, Topic: goalTopic, Key: g.ID}, map[string]any{"goal_id": g.ID, "pipeline": g.Pipeline}, nil)
}

// SubmitGoal adds a goal of the tenant's, which a host works on that does ServeGoals. Its Pipeline is a name in the folder of pipelines; the
// input is checked when it begins.
func (h *Host) SubmitGoal(ctx context.Context, pipeline string, input any, opts RunOptions) (*Goal, error) {
	given, err := kernel.ToValue(input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	if opts.RunID != "" {
		if err := checkRunID(opts.RunID); err != nil {
			return nil, err
		}
	}
	if err := h.libraries.spawned.Check(ctx, pipeline); err != nil {
		return nil, err
	}
	g := &Goal{ID: opts.RunID, Pipeline: pipeline, Principal: orElse(opts.Principal, h.principal()), RunLabels: opts.Labels, Labels: opts.InputLabels}
	if g.Input, err = kernel.EncodeJSON(given); err != nil {
		return nil, err
	}
	return h.libraries.agents.Submit(ctx, h.tenant(), g)
}

// Goals returns what is known of the tenant's goals.
func (h *Host) Goals() *centralagent.Goals { return h.libraries.agents.Goals() }

// GoalOptions say how to work on goals. The zero value is usable.
type GoalOptions struct {
	// Told is told of goals that begin, wait and end, from several goroutines.
	Told func(*Goal)
	// Idle is called when no goal is left that could go on by itself.
	Idle func()
	// Observer is told of the events of the runs; see RunOptions.
	Observer func(*Event)
	// Every is how often it is looked for what nobody told of; 0 is every 2 seconds.
	Every time.Duration
	// Drain is how long what is under way has once ctx has ended, before it stops where it is; 0 is 30 seconds.
	Drain time.Duration
}

// ServeGoals works on the tenant's goals until ctx ends, while this host leads: of several, one does, and another goes on when it dies,
// with what it had begun. Runs of goals are durable: what they had done is not done again, and no model is asked again. A goal
// that waits for an approval goes on by itself once that is answered.
func (h *Host) ServeGoals(ctx context.Context, opts GoalOptions) error {
	if h.config.Libraries.Pipelines == "" {
		return &kernel.Error{Code: kernel.CodeConfig, What: "there are no goals to work on", Where: kernel.Where{File: h.config.File}, Why: "the configuration names no folder of pipelines", Fix: "set spec.libraries.pipelines, and libraries.central_agent"}
	}
	return h.libraries.agents.Serve(ctx, centralagent.ServeOptions{
		Tenant: h.tenant(), Concurrency: h.config.Libraries.CentralAgent.Concurrency, Every: opts.Every, Drain: opts.Drain, Log: h.log, Told: opts.Told, Idle: opts.Idle,
		Lead: h.leadGoals,
		Drive: func(ctx context.Context, g *Goal, began func(string, int) error, left <-chan struct{}) centralagent.Driven {
			d := &goalDrive{h, g, began, RunOptions{
				Principal: g.Principal, Labels: g.RunLabels, InputLabels: g.Labels, Durable: true, Observer: opts.Observer, left: left, goal: g,
			}}
			return d.drive(ctx)
		},
	})
}

// leadGoals does something while this process is the one of the tenant's that works on goals.
func (h *Host) leadGoals(ctx context.Context, do func(context.Context) error) error {
	if h.locks == nil { // the embedding program brings the port
		return do(ctx)
	}
	return h.locks.Lead(ctx, h.tenant(), "hexdag.central_agent", lock.Ask{Owner: lock.Owner{Principal: h.principal(), Pipeline: "goals of " + hostName()}}, func(ctx context.Context, _ *lock.Lease) error { return do(ctx) })
}

// goalDrive is the work on a goal.
type goalDrive struct {
	host  *Host
	goal  *Goal
	began func(run string, tries int) error
	opts  RunOptions
}

// maxTries is how many runs of a goal end with their hosts before it is given up.
const maxTries = 5

// later is what comes of a goal that goes on elsewhere, or cannot just now.
var later = centralagent.Driven{Status: centralagent.Running}

// drive has a goal's run begin, or go on.
func (d *goalDrive) drive(ctx context.Context) centralagent.Driven {
	j, err := d.host.openJournals(ctx)
	if err != nil {
		return d.put(err)
	}
	tries := d.goal.Tries
	for {
		run := d.goal.ID
		if tries > 0 {
			run += "." + strconv.Itoa(tries)
		}
		was, err := j.store.Get(ctx, d.host.tenant(), run)
		switch {
		case errors.Is(err, driver.ErrNotFound):
			if d.goal.Cancel {
				return centralagent.Driven{Status: centralagent.Cancelled}
			}
			if err := d.began(run, tries); err != nil {
				return d.put(err)
			}
			return d.begin(ctx, run)
		case err != nil:
			return d.put(err)
		case was.Status == driver.Running:
			r, err := d.host.RecoverRun(ctx, run, d.opts)
			switch {
			case err == nil:
				return d.of(r.Result)
			case errors.Is(err, errNeverBegan):
				tries++
				continue
			case kernel.CodeOf(err) == kernel.CodeFenced || kernel.CodeOf(err) == kernel.CodeUnavailable:
				return d.put(err)
			}
			return centralagent.Driven{Status: centralagent.Failed, Err: err}
		case was.Status == driver.Status(engine.Suspended):
			return d.resume(ctx, run)
		case was.Status == driver.Status(engine.Cancelled) && !d.goal.Cancel && tries < maxTries:
			tries++ // with its host
		default:
			return d.known(ctx, run, was.Status)
		}
	}
}

// put puts a goal off.
func (d *goalDrive) put(err error) centralagent.Driven {
	d.host.log.Debug("a goal cannot go on now", "goal", d.goal.ID, "error", err.Error())
	return later
}

// begin runs the pipeline of a goal.
func (d *goalDrive) begin(ctx context.Context, run string) centralagent.Driven {
	p, done, err := d.host.libraries.spawned.use(ctx, d.goal.Pipeline)
	if err != nil {
		return centralagent.Driven{Status: centralagent.Failed, Err: err}
	}
	defer done()
	input, err := kernel.DecodeJSON(d.goal.Input)
	if err != nil {
		return centralagent.Driven{Status: centralagent.Failed, Err: err}
	}
	opts := d.opts
	opts.RunID = run
	return d.of(p.Run(ctx, input, opts))
}

// of is what came of a goal's run.
func (d *goalDrive) of(r *Result) centralagent.Driven {
	select {
	case <-d.opts.left: // it goes on elsewhere
		return later
	default:
	}
	driven := centralagent.Driven{Status: centralagent.Status(r.Status), Err: r.Err}
	switch {
	case kernel.CodeOf(r.Err) == kernel.CodeFenced, kernel.CodeOf(r.Err) == kernel.CodeRunExists:
		return later
	case r.Status == engine.Suspended:
		driven.Status, driven.Err = centralagent.Waiting, nil
		for _, w := range r.Waits {
			driven.Waits = append(driven.Waits, w.EventKey)
		}
	}
	for _, v := range r.NodeResults {
		driven.Outcome, driven.Summary = outcomeOf(v, driven.Outcome, driven.Summary)
	}
	return driven
}

// outcomeOf returns the outcome and the summary in a node's result, if it is that of a central agent.
func outcomeOf(v kernel.Value, outcome, summary string) (string, string) {
	fields, _ := v.(map[string]any)
	o, is := fields["outcome"].(string)
	s, has := fields["summary"].(string)
	if !is || !has || len(fields) != 2 {
		return outcome, summary
	}
	return o, s
}

// known is what came of a run whose host died before it could say so.
func (d *goalDrive) known(ctx context.Context, run string, status driver.Status) centralagent.Driven {
	driven := centralagent.Driven{Status: centralagent.Status(status)}
	p, err := d.host.libraries.registry.Get(ctx, d.host.tenant(), run)
	if err != nil {
		return driven
	}
	if p.Error != nil {
		driven.Err = errors.New(processregistry.Told(p.Error))
	}
	if output, err := kernel.DecodeJSON(p.Output); err == nil {
		driven.Outcome, driven.Summary = outcomeOf(output, "", "")
		nodes, _ := output.(map[string]any)
		for _, v := range nodes {
			driven.Outcome, driven.Summary = outcomeOf(v, driven.Outcome, driven.Summary)
		}
	}
	return driven
}

// resume goes on with a run that waits here for an approval that somebody has answered.
func (d *goalDrive) resume(ctx context.Context, run string) centralagent.Driven {
	s, err := d.host.paused(ctx, run)
	if err != nil { // it waits with a file of another host, or somebody resumes it
		return d.waits()
	}
	for _, w := range s.Waits {
		id, is := strings.CutPrefix(w.EventKey, kernel.ApprovalKey)
		if !is || !d.host.answered(ctx, id) {
			continue
		}
		if err := d.began(run, d.goal.Tries); err != nil {
			return d.put(err)
		}
		r, err := d.host.Resume(ctx, run, w.EventKey, nil, d.opts)
		if err != nil {
			d.host.log.Warn("a goal cannot go on", "goal", d.goal.ID, "error", err.Error())
			return later
		}
		return d.of(r)
	}
	return d.waits()
}

// waits is what comes of a goal that waits as before.
func (d *goalDrive) waits() centralagent.Driven {
	return centralagent.Driven{Status: centralagent.Waiting, Waits: d.goal.Waits}
}

// answered reports whether somebody has answered an approval, or can no longer.
func (h *Host) answered(ctx context.Context, id string) bool {
	list, err := h.approvals.List(ctx)
	if err != nil {
		return false
	}
	for i := range list {
		if list[i].ID == id {
			return list[i].State != ApprovalPending
		}
	}
	return true
}

// OpenGoals opens the goals of a configuration's host, whether or not it runs. The caller closes them.
func OpenGoals(ctx context.Context, cfg *Config) (*OpenedGoals, error) {
	h := &Host{config: cfg, state: stateOf(cfg)}
	if err := h.openFolder(h.state); err != nil {
		return nil, err
	}
	store, err := h.openDataStore(ctx)
	if err != nil {
		return nil, err
	}
	documents := datastore.New(store)
	spawned := &spawnable{host: h, folder: cfg.Libraries.Pipelines}
	goals := &centralagent.Goals{Store: func(context.Context) (*datastore.Store, error) { return documents, nil }, Max: cfg.Libraries.CentralAgent.MaxGoals}
	return &OpenedGoals{Goals: goals, Tenant: h.tenant(), principal: h.principal(), spawned: spawned, store: store}, nil
}

// OpenedGoals are the goals of a configuration's tenant.
type OpenedGoals struct {
	*centralagent.Goals
	Tenant    string
	principal string
	spawned   *spawnable
	store     interface{ Close() error }
}

// Hand adds a goal, as SubmitGoal does; whoever works on goals sees it soon.
func (g *OpenedGoals) Hand(ctx context.Context, pipeline string, input any) (*Goal, error) {
	given, err := kernel.ToValue(input)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the input is no JSON value", Why: err.Error(), Fix: "pass JSON", Err: err}
	}
	if _, err := g.spawned.file(pipeline); err != nil {
		return nil, err
	}
	text, err := kernel.EncodeJSON(given)
	if err != nil {
		return nil, err
	}
	return g.Submit(ctx, g.Tenant, &Goal{ID: newRunID(), Pipeline: pipeline, Input: text, Principal: g.principal})
}

// Close releases what OpenGoals opened.
func (g *OpenedGoals) Close() error { return g.store.Close() }
