package host

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/pipeline"
)

// System is a loaded system: several pipelines, run one after the other or as the
// states of entities ask for them.
type System struct {
	*pipeline.System
	host      *Host
	processes map[string]*Pipeline
	states    *entitystate.States // of a system that follows entities
}

// SystemResult is the outcome of a system's run.
type SystemResult struct {
	Status    engine.Status      `json:"status"`
	RunID     string             `json:"run_id"`
	Processes map[string]*Result `json:"processes"`
	Order     []string           `json:"order"` // of the processes that ran
	Error     *kernel.Error      `json:"error"`
	Err       error              `json:"-"`
}

// LoadSystem reads and checks a file of kind: System and the pipelines it names.
func (h *Host) LoadSystem(ctx context.Context, file string, opts LoadOptions) (*System, error) {
	f, err := h.files.Read(file, h.reading(opts))
	if err != nil {
		return nil, err
	}
	if f.System == nil {
		return nil, &kernel.Error{Code: kernel.CodePipeline, What: "the file holds no system", Where: kernel.Where{File: file}, Fix: "run it as a pipeline"}
	}
	return h.prepareSystem(ctx, f.System, opts)
}

func (h *Host) prepareSystem(ctx context.Context, s *pipeline.System, opts LoadOptions) (_ *System, err error) {
	loaded := &System{System: s, host: h, processes: map[string]*Pipeline{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, loaded.Close(ctx))
		}
	}()
	var problems []error
	for _, p := range s.Processes {
		process := inherit(p.Pipeline, s)
		prepared, err := h.prepare(ctx, process, opts.Environment)
		problems = append(problems, err)
		if err == nil {
			prepared.process, prepared.system = p.Name, s.File
			loaded.processes[p.Name] = prepared
		}
	}
	if len(s.Machines) > 0 {
		states, err := h.newStates(s.Machines)
		problems = append(problems, err)
		if err == nil {
			loaded.states = states
			loaded.follow()
		}
	}
	return loaded, errors.Join(problems...)
}

// inherit gives a process the system's ports and services that it has not itself.
func inherit(p *pipeline.Pipeline, s *pipeline.System) *pipeline.Pipeline {
	own := *p
	own.Ports = maps.Clone(s.Ports)
	if own.Ports == nil {
		own.Ports = map[string]pipeline.PortSpec{}
	}
	maps.Copy(own.Ports, p.Ports)
	own.Services = maps.Clone(s.Services)
	if own.Services == nil {
		own.Services = map[string]pipeline.ServiceSpec{}
	}
	maps.Copy(own.Services, p.Services)
	if len(p.Machines) == 0 {
		own.Machines = s.Machines
	}
	return &own
}

// Close closes the ports that the pipelines brought.
func (s *System) Close(ctx context.Context) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.processes)) {
		problems = append(problems, s.processes[name].Close(ctx))
	}
	return errors.Join(problems...)
}

// Run runs the processes in their order; the first that fails ends the run. A
// system that follows entities is driven by Transition instead.
func (s *System) Run(ctx context.Context, input any, opts RunOptions) *SystemResult {
	parent := s.host.newRun(s.Name, opts)
	res := &SystemResult{Status: engine.Completed, RunID: parent.RunID, Processes: map[string]*Result{}}
	given, err := kernel.ToValue(input)
	fields, ok := given.(map[string]any)
	if err != nil || !ok && given != nil {
		return res.fail(&kernel.Error{Code: kernel.CodeInput, What: "the input of a system is a JSON object", Where: kernel.Where{File: s.File}, Fix: "pass one"})
	}
	observer, stop := observe(opts)
	defer stop()
	parent.Observer = observer
	ctx, span := s.host.tracer.Run(ctx, parent)
	ctx = kernel.WithRun(ctx, parent)
	started := time.Now()
	s.host.libraries.started(parent)
	defer func() {
		span.EndRun(string(res.Status), parent.Used(), res.Err)
		s.host.libraries.ended(parent, &Result{Status: res.Status, RunID: res.RunID, Error: res.Error})
	}()
	kernel.Emit(ctx, &kernel.Event{Type: kernel.SystemStarted, System: s.Name, Nodes: len(s.Processes)})
	for i, p := range s.Processes {
		if err := s.step(ctx, p, i, fields, parent, res); err != nil {
			res.fail(err)
			break
		}
	}
	kernel.Emit(ctx, &kernel.Event{Type: kernel.SystemCompleted, System: s.Name, Status: string(res.Status), DurationMS: float64(time.Since(started).Microseconds()) / 1000, Error: res.Error})
	return res
}

// step runs one process of a run.
func (s *System) step(ctx context.Context, p *pipeline.Process, i int, input map[string]any, parent *kernel.RunContext, res *SystemResult) error {
	if err := ctx.Err(); err != nil {
		return kernel.ContextError(ctx)
	}
	kernel.Emit(ctx, &kernel.Event{Type: kernel.ProcessStarted, System: s.Name, Process: p.Name, Attempt: i})
	started := time.Now()
	result := s.processes[p.Name].Run(ctx, s.inputOf(p, input, res), RunOptions{Recorder: Tell(parentObserver(parent)), Principal: parent.Principal, Labels: parent.Labels, InputLabels: joined(res.Processes), Parent: parent})
	res.Processes[p.Name] = result
	res.Order = append(res.Order, p.Name)
	kernel.Emit(ctx, &kernel.Event{Type: kernel.ProcessCompleted, System: s.Name, Process: p.Name, Attempt: i, Status: string(result.Status), DurationMS: float64(time.Since(started).Microseconds()) / 1000, Error: result.Error})
	return s.completed(p.Name, result)
}

// completed returns why what follows a process does not happen.
func (s *System) completed(process string, r *Result) error {
	if r.Err != nil {
		return r.Err
	}
	if r.Status != engine.Completed {
		return &kernel.Error{Code: kernel.CodeFailed, What: "process " + kernel.Quote(process) + " is " + string(r.Status), Where: kernel.Where{File: s.File, Run: r.RunID}, Fix: "a process of a system cannot wait for events; split the system there"}
	}
	return nil
}

// parentObserver hands the events of a process to whoever observes its parent.
func parentObserver(parent *kernel.RunContext) func(*Event) {
	if parent.Observer == nil {
		return func(*Event) {}
	}
	return parent.Observer
}

// inputOf is the system's input with what is piped into a process over it. A value
// that is null leaves the input's in place.
func (s *System) inputOf(p *pipeline.Process, input map[string]any, res *SystemResult) map[string]any {
	given := maps.Clone(input)
	if given == nil {
		given = map[string]any{}
	}
	results := func(process, node string) kernel.Value {
		if r := res.Processes[process]; r != nil {
			return r.NodeResults[node]
		}
		return nil
	}
	for _, pipe := range p.Pipes {
		for _, field := range pipe.Mapping {
			if v := field.Value(results); v != nil || given[field.Name] == nil {
				given[field.Name] = v
			}
		}
	}
	return given
}

func (r *SystemResult) fail(err error) *SystemResult {
	r.Status, r.Err = engine.Failed, err
	errors.As(err, &r.Error)
	if kernel.CodeOf(err).Class() == kernel.ClassDenied {
		r.Status = engine.Denied
	}
	return r
}

// Move is what moves an entity of a system to another state.
type Move struct {
	Entity  string       `json:"entity"`
	ID      string       `json:"entity_id"`
	To      string       `json:"to_state"`
	Reason  string       `json:"reason,omitempty"`
	Payload kernel.Value `json:"payload,omitempty"`
}

// moving carries a transition's options to the process that it starts, and the
// process's result back.
type moving struct {
	mu     sync.Mutex
	opts   RunOptions
	result *Result
}

type movingKey struct{}

// follow has the process of a transition run while the entity is claimed: where it
// fails, the entity keeps its state.
func (s *System) follow() {
	for _, m := range s.Machines {
		s.states.Handle(m.Entity, func(ctx context.Context, c *entitystate.Change) error {
			name := s.ProcessOf(c.Entity, c.From, c.To)
			if name == "" {
				return nil
			}
			return s.process(ctx, name, c)
		})
		if m.OnChange != nil {
			s.states.Handle(m.Entity, s.host.onChange(m.OnChange))
		}
	}
}

func (s *System) process(ctx context.Context, name string, c *entitystate.Change) error {
	input := map[string]any{}
	if fields, ok := c.Payload.(map[string]any); ok {
		maps.Copy(input, fields)
	}
	maps.Copy(input, changeValue(c))
	m, _ := ctx.Value(movingKey{}).(*moving)
	opts := m.opts
	opts.InputLabels = opts.InputLabels.Join(kernel.FlowFrom(ctx).Labels())
	result := s.processes[name].Run(ctx, input, opts)
	m.mu.Lock()
	m.result = result
	m.mu.Unlock()
	return s.completed(name, result)
}

// Transition moves an entity, and runs the process that its new state asks for. An
// entity that nobody has seen begins in its machine's initial state; one that
// comes to a terminal state is forgotten. The result is nil where no process ran.
func (s *System) Transition(ctx context.Context, move Move, opts RunOptions) (*Result, error) {
	i := slices.IndexFunc(s.Machines, func(m *pipeline.Machine) bool { return m.Entity == move.Entity })
	if s.states == nil || i < 0 {
		var names []string
		for _, m := range s.Machines {
			names = append(names, m.Entity)
		}
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "the system has no entities of type " + kernel.Quote(move.Entity), Where: kernel.Where{File: s.File}, Fix: kernel.DidYouMean(move.Entity, names)}
	}
	tenant := s.host.tenant()
	run := s.host.newRun(s.Name, opts)
	observer, stop := observe(opts)
	defer stop()
	if run.Observer = observer; observer != nil {
		opts.Observer, opts.Recorder = nil, Tell(observer)
	}
	m := &moving{opts: opts}
	ctx = kernel.WithRun(context.WithValue(ctx, movingKey{}, m), run)
	c := &entitystate.Change{Tenant: tenant, Entity: move.Entity, ID: move.ID, To: move.To, Reason: move.Reason, Payload: move.Payload}
	if err := s.states.Transition(ctx, c); err != nil {
		return m.result, kernel.At(err, kernel.Where{File: s.File})
	}
	if slices.Contains(s.Machines[i].Terminal, move.To) {
		if err := s.forget(ctx, c); err != nil {
			return m.result, err
		}
	}
	return m.result, nil
}

// forget ends what is kept of an entity in a terminal state.
func (s *System) forget(ctx context.Context, c *entitystate.Change) error {
	summary, err := s.states.Cleanup(ctx, c.Tenant, c.Entity, c.ID)
	if err != nil {
		return err
	}
	kernel.Emit(ctx, &kernel.Event{Type: kernel.EntityCollected, System: s.Name, Entity: c.Entity, EntityID: c.ID, ToState: c.To, Reason: fmt.Sprintf("after %d transitions", summary.Transitions), Result: map[string]any{
		"final_state": summary.FinalState, "lifetime_ms": kernel.Number(summary.Lifetime.Milliseconds()), "transition_count": kernel.Number(summary.Transitions),
	}})
	return nil
}
