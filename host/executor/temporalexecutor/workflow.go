package temporalexecutor

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// The names that are written into histories: to change one is to lose the runs under way.
const (
	workflowType = "hexdag.run"
	nodeType     = "hexdag.node"
	settleType   = "hexdag.settle"
	concludeType = "hexdag.conclude"
	holdType     = "hexdag.hold"

	eventSignal  = "hexdag.event"
	heldSignal   = "hexdag.held"
	settledName  = "hexdag.settled" // an update
	stateQuery   = "hexdag.state"
	nodesQuery   = "hexdag.nodes"
	memoWaits    = "hexdag.waits"
	memoPipeline = "hexdag.pipeline"
	memoVersion  = "hexdag.version"
)

// input is what a workflow begins with: the run, and how the machinery is to treat it.
type input struct {
	executor.Start
	Heartbeat time.Duration `json:"heartbeat_ns"`
	Attempts  int32         `json:"attempts"`
	NodeTime  time.Duration `json:"node_time_ns"` // that the work on a node takes at most, where nothing else says it
	FirstWait time.Duration `json:"first_wait_ns"`
}

// running is the status of a run that neither waits nor has ended.
const running engine.Status = "running"

// slack is how much longer a node's work may take than the engine lets it: for the machinery alone.
const slack = time.Minute

// localTime is how long what is computed beside nodes may take.
const localTime = 30 * time.Second

// run is one run of a workflow. It is deterministic: what there is to compute of values is done in activities.
type run struct {
	in       *input
	schedule *executor.Schedule
	nodes    workflow.Context // of the nodes under way
	stop     workflow.CancelFunc
	since    time.Time // of the session: from the start, or from when it went on
	endTimer workflow.CancelFunc
	timers   map[string]workflow.CancelFunc // of waits
	fences   []kernel.Fence
	held     bool
	release  func() // of the lock
	timedOut bool
	failed   *kernel.Error // beside nodes
	changed  bool
	broken   error // of the machinery

	ended  *executor.Ended // the last one
	round  int             // how often it has waited
	closed bool

	suspended bool
}

// runWorkflow runs a graph. Its result, or the details of its error, are how the run ended.
func runWorkflow(ctx workflow.Context, in *input) (*executor.Ended, error) {
	r := &run{in: in, schedule: executor.NewSchedule(&in.Graph), timers: map[string]workflow.CancelFunc{}}
	r.nodes, r.stop = workflow.WithCancel(ctx)
	if err := r.listen(ctx); err != nil {
		return nil, err
	}
	r.begin(ctx)
	err := r.loop(ctx)
	if err == nil {
		err = r.conclude(ctx)
	}
	r.release()
	r.closed = true
	detached, _ := workflow.NewDisconnectedContext(ctx)
	if waitErr := workflow.Await(detached, func() bool { return workflow.AllHandlersFinished(detached) }); err == nil {
		err = waitErr
	}
	if err != nil {
		return nil, err
	}
	return r.result(ctx)
}

// result tells Temporal how the run ended in its own terms.
func (r *run) result(ctx workflow.Context) (*executor.Ended, error) {
	switch {
	case r.ended.Error == nil:
		return r.ended, nil
	case ctx.Err() != nil && r.ended.Status == engine.Cancelled:
		return nil, temporal.NewCanceledError(r.ended)
	}
	return nil, temporal.NewNonRetryableApplicationError(r.ended.Error.Error(), string(r.ended.Error.Code), nil, r.ended)
}

// listen takes events, and tells how far the run is.
func (r *run) listen(ctx workflow.Context) error {
	events := workflow.GetSignalChannel(ctx, eventSignal)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var e executor.Event
			if more := events.Receive(ctx, &e); !more {
				return
			}
			r.take(&e)
		}
	})
	held := workflow.GetSignalChannel(ctx, heldSignal)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for {
			var lock executor.Held
			if !held.Receive(ctx, &lock) {
				return
			}
			r.schedule.Spend(lock.Spent)
			r.fences, r.held, r.changed = lock.Fences, true, true
		}
	})
	if err := workflow.SetQueryHandler(ctx, stateQuery, func() (*executor.Ended, error) {
		if !r.suspended && !r.closed {
			return &executor.Ended{Status: running}, nil
		}
		return r.ended, nil
	}); err != nil {
		return err
	}
	if err := workflow.SetQueryHandler(ctx, nodesQuery, func(ends int) ([]executor.Result, error) { return r.schedule.After(ends), nil }); err != nil {
		return err
	}
	// The round is how often it had waited when it was asked.
	return workflow.SetUpdateHandler(ctx, settledName, func(ctx workflow.Context, round int) (*executor.Ended, error) {
		detached, _ := workflow.NewDisconnectedContext(ctx)
		if err := workflow.Await(detached, func() bool { return r.closed || r.round > round }); err != nil || r.closed {
			return nil, err // the workflow's own result is how it ended
		}
		return r.ended, nil
	})
}

// begin begins a session, whose time is counted, and in which the run holds its lock.
func (r *run) begin(ctx workflow.Context) {
	r.since, r.suspended = workflow.Now(ctx), false
	r.release = r.hold(ctx)
	if r.in.Graph.Timeout <= 0 {
		r.endTimer = func() {}
		return
	}
	timed, cancel := workflow.WithCancel(ctx)
	r.endTimer = cancel
	workflow.Go(timed, func(ctx workflow.Context) {
		if workflow.NewTimer(ctx, r.in.Graph.Timeout).Get(ctx, nil) == nil {
			r.timedOut, r.changed = true, true
			r.stop()
		}
	})
}

// loop starts nodes as they become ready until none is left, or the run fails or is stopped.
func (r *run) loop(ctx workflow.Context) error {
	detached, _ := workflow.NewDisconnectedContext(ctx)
	for !r.over(ctx) {
		r.changed = false
		for r.going(ctx) {
			i, task, ok := r.schedule.Next()
			if !ok {
				break
			}
			r.start(i, task)
		}
		var err error
		switch {
		case r.going(ctx) && r.schedule.Suspended():
			err = r.suspend(ctx)
		case !r.over(ctx):
			err = workflow.Await(detached, func() bool { return r.changed || r.over(ctx) })
		}
		if err != nil {
			return err
		}
	}
	return r.broken
}

// over reports whether nothing is under way, and nothing will be.
func (r *run) over(ctx workflow.Context) bool {
	if r.schedule.Running() > 0 {
		return false
	}
	if r.broken != nil || r.failed != nil || r.timedOut || cancelled(ctx) {
		return true
	}
	return r.ready() && r.schedule.Idle() && !r.schedule.Suspended()
}

// ready reports whether the run has its lock, where it is to have one.
func (r *run) ready() bool { return r.held || !r.in.Graph.Lock }

// going reports whether nodes may begin.
func (r *run) going(ctx workflow.Context) bool {
	return !cancelled(ctx) && !r.timedOut && r.failed == nil && r.broken == nil && r.ready()
}

// hasFailed reports whether the run failed beside its nodes.
func (r *run) hasFailed() bool { return r.failed != nil }

func cancelled(ctx workflow.Context) bool { return ctx.Err() != nil }

// suspend waits for an event where nothing else is left to do.
func (r *run) suspend(ctx workflow.Context) error {
	r.endTimer()
	if err := r.conclude(ctx); err != nil {
		return err
	}
	r.release()
	if r.hasFailed() { // nobody could conclude it
		return nil
	}
	if r.changed { // an event came meanwhile
		r.begin(ctx)
		return nil
	}
	if err := workflow.UpsertMemo(ctx, map[string]any{memoWaits: r.schedule.Waits()}); err != nil {
		return err
	}
	r.round++
	r.ended.Round, r.suspended = r.round, true
	if err := workflow.Await(ctx, func() bool { return r.changed }); err != nil && !temporal.IsCanceledError(err) {
		return err
	}
	if err := workflow.UpsertMemo(ctx, map[string]any{memoWaits: []engine.Wait{}}); err != nil {
		return err
	}
	r.begin(ctx)
	return nil
}

// start has a worker work on a node.
func (r *run) start(i int, task executor.Task) {
	task.Head, task.RunID, task.Since, task.Fences = r.in.Head, r.in.RunID, r.since, r.fences
	most := r.in.Graph.Nodes[i].Most
	if most == 0 {
		most = r.in.NodeTime
	}
	options := workflow.ActivityOptions{
		StartToCloseTimeout: most + slack, HeartbeatTimeout: r.in.Heartbeat, WaitForCancellation: true, Summary: task.Node,
		RetryPolicy: r.retries(),
	}
	workflow.Go(workflow.WithActivityOptions(r.nodes, options), func(ctx workflow.Context) {
		var done executor.Done
		err := workflow.ExecuteActivity(ctx, nodeType, &task).Get(ctx, &done)
		r.changed = true
		if err != nil {
			r.lost(i, task.Node, err)
			return
		}
		if done.Stopped && !cancelled(ctx) {
			r.timedOut = true // by the worker's clock
			r.stop()
		}
		r.schedule.Ended(i, &done)
		r.watch(&done)
	})
}

func (r *run) retries() *temporal.RetryPolicy {
	return &temporal.RetryPolicy{InitialInterval: r.in.FirstWait, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: r.in.Attempts}
}

// lost notes that the work on a node could not be done.
func (r *run) lost(i int, node string, err error) {
	r.schedule.Spoil(i)
	if temporal.IsCanceledError(err) || r.failed != nil {
		return
	}
	r.failed = unworked(node, err, r.in)
}

// unworked is the error of a node that no worker has brought to an end.
func unworked(node string, err error, in *input) *kernel.Error {
	what := "node " + kernel.Quote(node)
	if node == "" {
		what = "the run"
	}
	e := &kernel.Error{Code: kernel.CodeUnavailable, What: "no worker has brought " + what + " to an end", Where: kernel.Where{Node: node, Run: in.RunID}, Err: err}
	var app *temporal.ApplicationError
	var timeout *temporal.TimeoutError
	var told kernel.Error
	switch {
	case errors.As(err, &app) && app.HasDetails() && app.Details(&told) == nil:
		told.Where.Run = in.RunID
		return &told
	case errors.As(err, &timeout):
		e.Why = "it was tried " + strconv.Itoa(int(in.Attempts)) + " times, and the last worker was not heard of: " + timeout.TimeoutType().String()
		e.Fix = "see what ends the workers: a node that takes all their memory ends each of them"
	default:
		e.Why, e.Fix = kernel.Quote(err.Error()), "see the workers' logs"
	}
	return e
}

// watch has waits end when their time is up.
func (r *run) watch(done *executor.Done) {
	for _, w := range done.Waits {
		if w.Timeout <= 0 {
			continue
		}
		timed, cancel := workflow.WithCancel(r.nodes)
		r.timers[waitID(w)] = cancel
		workflow.Go(timed, func(ctx workflow.Context) {
			if workflow.NewTimer(ctx, max(w.Since.Add(w.Timeout).Sub(workflow.Now(ctx)), 0)).Get(ctx, nil) != nil {
				return
			}
			if s, waits := r.schedule.Expire(w); waits {
				r.settle(s)
			}
		})
	}
}

func waitID(w engine.Wait) string {
	id := w.Node + "\x00" + w.EventKey
	for _, step := range w.Path {
		id += "\x00" + step
	}
	return id
}

// take gives an event to the nodes that wait for it.
func (r *run) take(e *executor.Event) {
	for _, w := range r.schedule.Waits() {
		if cancel := r.timers[waitID(w)]; cancel != nil && (e.Key == "" || w.EventKey == e.Key) {
			cancel()
			delete(r.timers, waitID(w))
		}
	}
	settling, _ := r.schedule.Take(e)
	r.changed = true
	for _, s := range settling {
		r.settle(s)
	}
}

// settle makes of the end of a wait what came of its node.
func (r *run) settle(s executor.Settling) {
	s.Head = r.in.Head
	r.changed = true
	workflow.Go(r.nodes, func(ctx workflow.Context) {
		var done executor.Done
		err := r.compute(ctx, settleType, &s, &done)
		r.changed = true
		if err != nil {
			r.schedule.Settled(s.Wait.Node, &executor.Done{State: engine.NodeFailed})
			if !temporal.IsCanceledError(err) {
				r.broken = err
			}
			return
		}
		r.schedule.Settled(s.Wait.Node, &done)
	})
}

// compute has what is quick computed by the worker that has the workflow, or, where that fails, by any.
func (r *run) compute(ctx workflow.Context, kind string, in, out any) error {
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: localTime, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 2}, Summary: kind})
	err := workflow.ExecuteLocalActivity(local, kind, in).Get(local, out)
	if err == nil || temporal.IsCanceledError(err) {
		return err
	}
	anywhere := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: localTime, RetryPolicy: r.retries(), Summary: kind})
	return workflow.ExecuteActivity(anywhere, kind, in).Get(anywhere, out)
}

// conclude makes of what came of nodes how the run ended, or how far it is.
func (r *run) conclude(ctx workflow.Context) error {
	detached, _ := workflow.NewDisconnectedContext(ctx)
	s := r.schedule
	c := executor.Conclusion{
		Head: r.in.Head, Results: s.Results(), Done: s.Done(), Waits: s.Waits(), Stopped: ctx.Err() != nil || r.timedOut, TimedOut: r.timedOut && ctx.Err() == nil,
		Failed: r.failed, Spent: s.Spent(), Bound: executor.InlineValue,
	}
	switch {
	case c.TimedOut:
		c.Why = r.in.Graph.TimeoutWhy
	case c.Stopped:
		c.Why = "the run was cancelled"
	}
	var ended executor.Ended
	if err := r.compute(detached, concludeType, &c, &ended); err != nil {
		if r.failed == nil { // else nobody can do anything for this run, which is said already
			r.failed = unworked("", err, r.in)
		}
		ended = executor.Ended{Status: engine.StatusOf(context.Background(), r.failed), Error: r.failed}
	}
	ended.Nodes, ended.Round, ended.Spent = c.Results, r.round, c.Spent
	r.ended = &ended
	return nil
}

// hold has a worker hold the run's lock, and returns what has it given back.
func (r *run) hold(ctx workflow.Context) (release func()) {
	if !r.in.Graph.Lock {
		return func() {}
	}
	r.held = false
	detached, _ := workflow.NewDisconnectedContext(ctx)
	holding, cancel := workflow.WithCancel(detached)
	options := workflow.ActivityOptions{
		StartToCloseTimeout: r.in.NodeTime + slack, HeartbeatTimeout: r.in.Heartbeat, WaitForCancellation: true, Summary: "the run's lock",
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}, // held anew it would be another's meanwhile
	}
	over := false
	workflow.Go(workflow.WithActivityOptions(holding, options), func(ctx workflow.Context) {
		task := executor.Task{Head: r.in.Head, RunID: r.in.RunID, Since: r.since, Bound: executor.InlineValue}
		err := workflow.ExecuteActivity(ctx, holdType, &task).Get(ctx, nil)
		over, r.changed = true, true
		held := r.held
		if r.held = false; err == nil || temporal.IsCanceledError(err) || r.failed != nil {
			return
		}
		if r.failed = unworked("", err, r.in); r.failed.Code == kernel.CodeUnavailable && held {
			r.failed = kernel.LockLost("of the run", "the worker that held it was lost")
		}
		r.stop()
	})
	workflow.Go(ctx, func(ctx workflow.Context) { // who waits for it may be cancelled, too
		if ctx.Done().Receive(ctx, nil); !r.held {
			cancel()
		}
	})
	return func() {
		cancel()
		_ = workflow.Await(detached, func() bool { return over }) // nothing ends it
	}
}
