package temporalexecutor

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// Work implements executor.Executor: it polls the task queue until ctx ends. What is under way then has
// Config.Drain to end; after that it is stopped, and done by another worker.
func (x *Executor) Work(ctx context.Context, nodes executor.Nodes) error {
	if err := x.check(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // it was to end
		}
		return err
	}
	options := worker.Options{DeadlockDetectionTimeout: stuckTime, WorkerStopTimeout: x.config.drain(), MaxConcurrentActivityExecutionSize: x.config.Concurrency}
	broken := make(chan error, 1)
	options.OnFatalError = func(err error) { broken <- err }
	w := worker.New(x.client, x.config.TaskQueue, options)
	register(w, &activities{nodes: nodes, client: x})
	if err := w.Start(); err != nil {
		return x.failure("the worker cannot begin", err)
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-broken:
		return x.failure("the worker cannot go on", err)
	}
}

// stuckTime is how long a workflow may compute at a stretch: on a busy machine much longer than it takes.
const stuckTime = 15 * time.Second

// registry is what workers and replayers have in common.
type registry interface {
	RegisterWorkflowWithOptions(w any, options workflow.RegisterOptions)
}

func registerWorkflow(r registry) {
	r.RegisterWorkflowWithOptions(runWorkflow, workflow.RegisterOptions{Name: workflowType})
}

func register(w worker.Worker, a *activities) {
	registerWorkflow(w)
	for name, f := range map[string]any{nodeType: a.node, settleType: a.settle, concludeType: a.conclude, holdType: a.hold} {
		w.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: name})
	}
}

// activities do the work of one worker.
type activities struct {
	nodes  executor.Nodes
	client *Executor
}

// node works on a node. What it fails with is in its result; an error has the work begun anew, elsewhere
// where there are several workers.
func (a *activities) node(ctx context.Context, task *executor.Task) (*executor.Done, error) {
	defer beat(ctx)()
	done, err := a.nodes.RunNode(ctx, task)
	if ctx.Err() != nil && !temporal.IsCanceledError(context.Cause(ctx)) {
		return nil, ctx.Err() // the worker ends, not the run: what was stopped is no result
	}
	return done, refusal(ctx, err)
}

func (a *activities) settle(ctx context.Context, s *executor.Settling) (*executor.Done, error) {
	done, err := a.nodes.Settle(ctx, s)
	return done, refusal(ctx, err)
}

func (a *activities) conclude(ctx context.Context, c *executor.Conclusion) (*executor.Ended, error) {
	ended, err := a.nodes.Conclude(ctx, c)
	return ended, refusal(ctx, err)
}

// hold holds the run's lock until it is cancelled.
func (a *activities) hold(ctx context.Context, task *executor.Task) error {
	defer beat(ctx)()
	err := a.nodes.Hold(ctx, task, func(held executor.Held) error {
		info := activity.GetInfo(ctx)
		return a.client.client.SignalWorkflow(ctx, info.WorkflowExecution.ID, info.WorkflowExecution.RunID, heldSignal, held)
	})
	if ctx.Err() != nil && temporal.IsCanceledError(context.Cause(ctx)) {
		return ctx.Err()
	}
	return asApplication(err, true)
}

// beat has the activity say that it is alive, and be told when it is cancelled, until it is stopped.
func beat(ctx context.Context) (stop func()) {
	every := activity.GetInfo(ctx).HeartbeatTimeout / 4
	if every <= 0 {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				activity.RecordHeartbeat(ctx)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// refusals is how often a task is offered to workers that cannot do it: another may.
const refusals = 3

// refusal makes of an error what has the task tried again, or of a worker's refusal its end.
func refusal(ctx context.Context, err error) error {
	code := kernel.CodeOf(err)
	info := activity.GetInfo(ctx)
	refused := code.Class() == kernel.ClassBadInput || code == kernel.CodeNotFound
	return asApplication(err, refused && (info.IsLocalActivity || info.Attempt >= refusals))
}

func asApplication(err error, final bool) error {
	if err == nil {
		return nil
	}
	told := &kernel.Error{Code: kernel.CodeOf(err), What: err.Error()}
	errors.As(err, &told)
	return temporal.NewApplicationErrorWithOptions(told.Error(), string(told.Code), temporal.ApplicationErrorOptions{NonRetryable: final, Details: []any{told}})
}
