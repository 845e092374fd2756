package centralagent

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/arguments"
	"github.com/hexdag/hexdag/host/ports/datastore"
	"github.com/hexdag/hexdag/host/ports/datastore/driver"
)

// Status says how a goal stands.
type Status string

// The statuses. The first three can still change.
const (
	Queued    Status = "queued"
	Running   Status = "running"
	Waiting   Status = "waiting" // for a person, or an event
	Completed Status = "completed"
	Failed    Status = "failed"
	Denied    Status = "denied"
	Cancelled Status = "cancelled"
)

// Statuses returns all of them.
func Statuses() []Status {
	return []Status{Queued, Running, Waiting, Completed, Failed, Denied, Cancelled}
}

// Over reports whether a goal of that status has ended for good.
func (s Status) Over() bool { return s != Queued && s != Running && s != Waiting }

// Goal is a run of a pipeline that a host is to do, some time, and once.
type Goal struct {
	ID        string            `json:"goal_id"`
	Pipeline  string            `json:"pipeline"`
	Input     json.RawMessage   `json:"input"`
	Labels    *kernel.Labels    `json:"labels,omitempty"` // of the input
	Principal string            `json:"principal"`        // on whose behalf it runs
	RunLabels map[string]string `json:"run_labels,omitempty"`
	Caps      kernel.CapSet     `json:"caps,omitzero"`
	Origin    kernel.Origin     `json:"origin,omitzero"`

	Status    Status    `json:"status"`
	Run       string    `json:"run_id,omitempty"` // that works on it, or did
	Tries     int       `json:"tries,omitempty"`  // runs before that one, which ended with their hosts
	Waits     []string  `json:"waits,omitempty"`  // the keys of the events that it waits for
	Outcome   string    `json:"outcome,omitempty"`
	Summary   string    `json:"summary,omitempty"`
	Error     string    `json:"error,omitempty"`
	Submitted time.Time `json:"submitted_at"`
	Ended     time.Time `json:"completed_at,omitzero"`
	Cancel    bool      `json:"cancel,omitempty"` // nobody is to work on it
}

// maxInput is how many bytes the input of a goal may have.
const maxInput = 256 << 10

// maxGoals is how many goals of a tenant are not over at most.
const maxGoals = 1000

const goalsCollection = "central_agent.goals"

// The terms of goals.
const (
	termLive = "live"
	termOver = "over"
)

func (g *Goal) document() (driver.Document, error) {
	text, err := json.Marshal(g)
	d := driver.Document{Key: g.ID, Value: text, Order: g.Submitted.UnixNano(), Terms: []string{termLive, "status " + string(g.Status)}}
	if g.Status.Over() {
		d.Terms[0] = termOver
	}
	return d, err
}

func parse(d *driver.Document) (*Goal, error) {
	g := &Goal{}
	if err := json.Unmarshal(d.Value, g); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "what is kept of the goal " + kernel.Quote(d.Key) + " cannot be read", Why: kernel.Quote(err.Error()), Fix: "restore the data store from a copy", Err: err}
	}
	return g, nil
}

// Goals are the goals of tenants, as a store keeps them.
type Goals struct {
	Store func(context.Context) (*datastore.Store, error)
	Max   int // that are not over, of a tenant; 1000 if it is 0
}

// Submit adds a goal, whose ID, Submitted and Status it sets where they are not. Of one that is known already it returns what is known.
func (s *Goals) Submit(ctx context.Context, tenant string, g *Goal) (*Goal, error) {
	store, err := s.Store(ctx)
	if err != nil {
		return nil, err
	}
	if len(g.Input) > maxInput {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the goal's input is too large", Why: fmt.Sprintf("it has %d bytes as JSON, the limit is %d", len(g.Input), maxInput), Fix: "keep what is large in an artifact"}
	}
	live, err := store.Count(ctx, tenant, goalsCollection, termLive)
	switch {
	case err != nil:
		return nil, err
	case live >= int64(cmp.Or(s.Max, maxGoals)):
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "there are too many goals", Why: fmt.Sprintf("%d of the tenant's are not over, and max_goals is %d", live, cmp.Or(s.Max, maxGoals)), Fix: "wait until some are, or have the operator raise libraries.central_agent.max_goals"}
	}
	own := *g
	if own.Status == "" {
		own.Status = Queued
	}
	if own.Submitted.IsZero() {
		own.Submitted = time.Now().UTC()
	}
	d, err := own.document()
	if err != nil {
		return nil, err
	}
	added, err := store.Put(ctx, tenant, goalsCollection, d, driver.Absent)
	if err != nil || added {
		return &own, err
	}
	return s.Get(ctx, tenant, own.ID)
}

// Get returns a goal, or an error of CodeNotFound.
func (s *Goals) Get(ctx context.Context, tenant, id string) (*Goal, error) {
	g, _, err := s.load(ctx, tenant, id)
	return g, err
}

func (s *Goals) load(ctx context.Context, tenant, id string) (*Goal, int64, error) {
	store, err := s.Store(ctx)
	if err != nil {
		return nil, 0, err
	}
	d, err := store.Load(ctx, tenant, goalsCollection, id)
	if d == nil && (err == nil || kernel.CodeOf(err) == kernel.CodeArguments) {
		return nil, 0, noGoal(id)
	}
	if err != nil {
		return nil, 0, err
	}
	g, err := parse(d)
	return g, d.Revision, err
}

// List returns goals, the latest first; status "" is any.
func (s *Goals) List(ctx context.Context, tenant string, status Status, limit int) ([]*Goal, error) {
	q := driver.All(limit)
	q.Descending = true
	if status != "" {
		q.Terms = []string{"status " + string(status)}
	}
	return s.query(ctx, tenant, q)
}

// live returns goals that are not over, the oldest first.
func (s *Goals) live(ctx context.Context, tenant string) ([]*Goal, error) {
	q := driver.All(datastore.MaxLimit)
	q.Terms = []string{termLive}
	return s.query(ctx, tenant, q)
}

func (s *Goals) query(ctx context.Context, tenant string, q driver.Query) ([]*Goal, error) {
	store, err := s.Store(ctx)
	if err != nil {
		return nil, err
	}
	found, err := store.Query(ctx, tenant, goalsCollection, q)
	if err != nil {
		return nil, err
	}
	goals := make([]*Goal, len(found))
	for i := range found {
		if goals[i], err = parse(&found[i]); err != nil {
			return nil, err
		}
	}
	return goals, nil
}

// Change changes a goal that is not over, and returns it as it is then; of one that is over it returns that.
func (s *Goals) Change(ctx context.Context, tenant, id string, change func(*Goal)) (*Goal, error) {
	for {
		g, revision, err := s.load(ctx, tenant, id)
		if err != nil || g.Status.Over() {
			return g, err
		}
		change(g)
		if g.Status.Over() && g.Ended.IsZero() {
			g.Ended = time.Now().UTC()
		}
		d, err := g.document()
		if err != nil {
			return nil, err
		}
		store, err := s.Store(ctx)
		if err != nil {
			return nil, err
		}
		if done, err := store.Put(ctx, tenant, goalsCollection, d, revision); err != nil || done {
			return g, err
		}
	}
}

// Cancel has nobody work on a goal any more, and reports whether that is so because of it. Whoever does work on it stops.
func (s *Goals) Cancel(ctx context.Context, tenant, id string) (bool, error) {
	was := Status("")
	g, err := s.Change(ctx, tenant, id, func(g *Goal) {
		was, g.Cancel = g.Status, true
		if g.Status == Queued && g.Run == "" {
			g.Status = Cancelled
		}
	})
	return err == nil && was != "" && g.Cancel, err
}

// Goals returns the tenant's goals.
func (l *Library) Goals() *Goals { return &Goals{Store: l.opts.Store, Max: l.opts.MaxGoals} }

// Submit adds a goal, and tells whoever works on goals.
func (l *Library) Submit(ctx context.Context, tenant string, g *Goal) (*Goal, error) {
	if g.ID == "" {
		g.ID = l.opts.NewID()
	}
	g, err := l.Goals().Submit(ctx, tenant, g)
	if err == nil && l.opts.Announce != nil {
		l.opts.Announce(ctx, tenant, g)
	}
	return g, err
}

func (l *Library) opSubmit(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, name, input, why := a.Run(ctx), plain(a.Text("pipeline")), a.Object("input", ""), text(a, "why", false, maxText)
	given, err := kernel.EncodeJSON(given(input))
	if err != nil {
		a.Fail("input is no JSON value")
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	if err := l.check(ctx, call.Op, name, input); err != nil {
		return nil, err
	}
	lineage := append(slices.Clip(run.Origin.Lineage), run.PipelineName)
	if err := l.opts.Spawner.Deep(lineage); err != nil {
		return nil, l.refused(ctx, call, name, err)
	}
	g := &Goal{Pipeline: name, Input: given, Labels: call.Labels, Principal: run.Principal, RunLabels: run.Labels, Caps: run.Caps, Origin: kernel.Origin{Lineage: lineage, RefID: run.RunID, RefType: refType}}
	if key := kernel.IdempotencyKeyFrom(ctx); key != "" {
		g.ID = goalID(run.Tenant, key)
	}
	if g, err = l.Submit(ctx, run.Tenant, g); err != nil {
		return nil, l.refused(ctx, call, name, err)
	}
	if err := l.record(ctx, call, name, detail("goal "+g.ID, why)); err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"goal_id": g.ID, "status": string(g.Status)}}, nil
}

func (l *Library) opGoals(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, status, limit := a.Run(ctx), Status(a.TextOr("status", "")), a.Whole("limit", 1, 500, 50)
	if status != "" && !slices.Contains(Statuses(), status) {
		a.Fail("there is no status %s", kernel.Quote(string(status)))
	}
	if err := a.End(); err != nil {
		return nil, err
	}
	found, err := l.Goals().List(ctx, run.Tenant, status, int(limit))
	if err != nil {
		return nil, err
	}
	goals := make([]any, len(found))
	var labels *kernel.Labels
	for i, g := range found {
		goals[i], labels = g.View(), labels.Join(g.labels())
	}
	return &kernel.PortReply{Value: map[string]any{"goals": goals}, Labels: labels}, nil
}

func (l *Library) opGoal(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, id := a.Run(ctx), a.Text("goal_id")
	if err := a.End(); err != nil {
		return nil, err
	}
	g, err := l.Goals().Get(ctx, run.Tenant, id)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: g.View(), Labels: g.labels()}, nil
}

// labels are those of what is told of a goal: its summary is a model's.
func (g *Goal) labels() *kernel.Labels {
	untrusted, _ := kernel.NewLabels(kernel.Untrusted, "", "goal:"+g.Pipeline) // it is known
	return g.Labels.Join(untrusted)
}

func (l *Library) opCancel(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a := arguments.Of(call)
	run, id := a.Run(ctx), a.Text("goal_id")
	if err := a.End(); err != nil {
		return nil, err
	}
	cancelled, err := l.Goals().Cancel(ctx, run.Tenant, id)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"goal_id": id, "cancelled": cancelled}}, nil
}

// View is a goal as it is shown.
func (g *Goal) View() map[string]any {
	view := map[string]any{
		"goal_id": g.ID, "pipeline": g.Pipeline, "status": string(g.Status), "run_id": orNull(g.Run), "outcome": orNull(g.Outcome), "summary": orNull(g.Summary), "error": orNull(g.Error),
		"submitted_at": g.Submitted.UTC().Format(time.RFC3339Nano), "completed_at": nil,
	}
	if !g.Ended.IsZero() {
		view["completed_at"] = g.Ended.UTC().Format(time.RFC3339Nano)
	}
	waits := make([]any, len(g.Waits))
	for i, key := range g.Waits {
		waits[i] = key
	}
	view["waits"] = waits
	return view
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
