package temporalexecutor

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// await returns when the run has ended, or has waited more often than round says. It cancels the run when ctx ends, unless it is left to others.
func (x *Executor) await(ctx context.Context, run string, round int, w executor.Watcher) (*executor.Ended, error) {
	waiting, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	type answer struct {
		ended *executor.Ended
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		ended, err := x.settled(waiting, run, round)
		answers <- answer{ended, err}
	}()
	defer func() { cancel(); <-answers }()
	take := func(a answer) (*executor.Ended, error) {
		answers <- a // for the deferred receive
		return a.ended, a.err
	}
	ticker := time.NewTicker(pollTime)
	defer ticker.Stop()
	lonely, ends := time.Time{}, 0
	for {
		select {
		case a := <-answers:
			return take(a)
		case <-ctx.Done():
			if cause := context.Cause(ctx); errors.Is(cause, executor.ErrLeft) {
				return nil, cause
			}
			stop, done := context.WithTimeout(context.WithoutCancel(ctx), endTime)
			defer done()
			if err := x.client.CancelWorkflow(stop, run, ""); err != nil {
				return nil, x.failure("the run goes on: it cannot be cancelled", err)
			}
			select {
			case a := <-answers:
				return take(a)
			case <-stop.Done():
				return nil, &kernel.Error{Code: kernel.CodeCanceled, What: "the run was cancelled, and has not ended yet", Where: kernel.Where{Run: run}, Why: x.loneliness(context.WithoutCancel(ctx)), Fix: "it ends when a worker hears of it"}
			}
		case <-ticker.C:
			why := x.loneliness(ctx)
			if why == "" {
				lonely = time.Time{}
				ends += x.watch(ctx, run, ends, w)
				continue
			}
			e := &kernel.Error{Code: kernel.CodeUnavailable, What: "the run waits for a worker", Where: kernel.Where{Run: run}, Why: why, Fix: "start one: hexdag worker --config FILE, with the same spec.executor"}
			if lonely.IsZero() {
				lonely = time.Now()
				if w != nil {
					w.Waits(e)
				}
			}
			if most := seconds(x.config.WorkerTimeout, 0); most > 0 && time.Since(lonely) > most {
				e.What = "the run was given up: no worker came"
				_ = x.client.TerminateWorkflow(context.WithoutCancel(ctx), run, "", e.Error()) // nothing has been done of it, or another says so
				return nil, e
			}
		}
	}
}

// watch tells a watcher what came of nodes after the first so many, and returns how many that were.
func (x *Executor) watch(ctx context.Context, run string, ends int, w executor.Watcher) int {
	if w == nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	v, err := x.client.QueryWorkflow(ctx, run, "", nodesQuery, ends)
	var later []executor.Result
	if err != nil || v.Get(&later) != nil || len(later) == 0 {
		return 0 // it is for the eye, and asked again
	}
	w.Ended(later)
	return len(later)
}

// loneliness says that nobody polls the task queue; "" where somebody does, or that is not known.
func (x *Executor) loneliness(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for _, kind := range []enums.TaskQueueType{enums.TASK_QUEUE_TYPE_WORKFLOW, enums.TASK_QUEUE_TYPE_ACTIVITY} {
		d, err := x.client.DescribeTaskQueue(ctx, x.config.TaskQueue, kind)
		if err != nil {
			return ""
		}
		recent := false
		for _, p := range d.Pollers { // they are listed for minutes after they are gone
			recent = recent || time.Since(p.LastAccessTime.AsTime()) < pollerTime
		}
		if !recent {
			return "no worker polls task queue " + kernel.Quote(x.config.TaskQueue) + " of namespace " + kernel.Quote(x.config.Namespace)
		}
	}
	return ""
}

// settled waits for the end of the run, or for its next wait.
func (x *Executor) settled(ctx context.Context, run string, round int) (*executor.Ended, error) {
	for {
		var ended *executor.Ended
		handle, err := x.client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{WorkflowID: run, UpdateName: settledName, Args: []any{round}, WaitForStage: client.WorkflowUpdateStageCompleted})
		if err == nil {
			err = handle.Get(ctx, &ended)
		}
		if err == nil && ended != nil {
			return ended, nil
		}
		var absent *serviceerror.NotFound
		if err == nil || errors.As(err, &absent) || gone(err) {
			return x.end(ctx, run)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if lasting(err) {
			return nil, x.failure("the run goes on, and cannot be asked after", err)
		}
		// A server that restarts, or a worker that died over the update: it is asked again.
		select {
		case <-ctx.Done():
		case <-time.After(firstWait):
		}
	}
}

// Await implements executor.Executor.
func (x *Executor) Await(ctx context.Context, run string, round int) (*executor.Ended, error) {
	if err := x.check(ctx); err != nil {
		return nil, err
	}
	ended, err := x.settled(ctx, run, round)
	if err != nil && ctx.Err() != nil {
		return nil, kernel.ContextError(ctx)
	}
	return ended, err
}

// lasting reports whether asking again would be in vain.
func lasting(err error) bool {
	var denied *serviceerror.PermissionDenied
	var invalid *serviceerror.InvalidArgument
	var absent *serviceerror.NamespaceNotFound
	return errors.As(err, &denied) || errors.As(err, &invalid) || errors.As(err, &absent)
}

// gone reports whether an update was not answered since its workflow has ended.
func gone(err error) bool {
	var app *temporal.ApplicationError
	return errors.As(err, &app) && app.Type() == "AcceptedUpdateCompletedWorkflow"
}

// end returns how the run has ended, as soon as it has.
func (x *Executor) end(ctx context.Context, run string) (*executor.Ended, error) {
	for {
		ended := &executor.Ended{}
		err := x.client.GetWorkflow(ctx, run, "").Get(ctx, ended)
		if err == nil {
			return ended, nil
		}
		var app *temporal.ApplicationError
		var cancelled *temporal.CanceledError
		var failed *temporal.WorkflowExecutionError
		switch {
		case errors.As(err, &cancelled) && cancelled.HasDetails():
			return ended, cancelled.Details(ended)
		case errors.As(err, &app) && app.HasDetails():
			return ended, app.Details(ended)
		case errors.As(err, &failed):
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the run's workflow has ended without a result", Where: kernel.Where{Run: run}, Why: kernel.Quote(err.Error()), Fix: "see it in Temporal: temporal workflow show --workflow-id " + kernel.Quote(run), Err: err}
		}
		var absent *serviceerror.NotFound
		if errors.As(err, &absent) {
			return nil, noSuchRun(run)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		select {
		case <-ctx.Done():
		case <-time.After(firstWait):
		}
	}
}

// State implements executor.Executor.
func (x *Executor) State(ctx context.Context, run string) (*executor.Ended, error) {
	v, err := x.client.QueryWorkflow(ctx, run, "", stateQuery)
	var absent *serviceerror.NotFound
	if errors.As(err, &absent) {
		return nil, noSuchRun(run)
	}
	if err != nil {
		return nil, x.failure("the run cannot be asked how far it is", err)
	}
	var ended *executor.Ended
	if err := v.Get(&ended); err != nil {
		return nil, x.failure("the run's answer cannot be read", err)
	}
	return ended, nil
}
