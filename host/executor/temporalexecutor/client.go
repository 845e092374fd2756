// Package temporalexecutor has Temporal run the nodes of pipelines: a run is a workflow, a node of it one
// activity, on any worker that polls the task queue.
package temporalexecutor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/kernel"
)

// Config says which Temporal, and how it is used. Times are in seconds; 0 is the default.
type Config struct {
	Address   string `json:"address"`   // host:port; "" is 127.0.0.1:7233
	Namespace string `json:"namespace"` // "" is default
	TaskQueue string `json:"task_queue"`
	TLS       bool   `json:"tls"`
	CA        string `json:"ca"` // file of certificates
	Cert      string `json:"cert"`
	Key       string `json:"key"`
	APIKey    string `json:"api_key"`

	// Heartbeat is how long a worker is not heard of before its nodes are begun anew; 10.
	Heartbeat float64 `json:"heartbeat"`
	// Attempts is how often the work on a node is begun, where workers are lost over it; 10.
	Attempts int32 `json:"attempts"`
	// MaxNodeTime is how long a node may take for which nothing else says it; a day.
	MaxNodeTime float64 `json:"max_node_time"`
	// WorkerTimeout is how long a run waits where no worker polls the task queue; for ever.
	WorkerTimeout float64 `json:"worker_timeout"`
	Drain         float64 `json:"drain"`       // how long a worker that ends lets nodes go on; 30
	Concurrency   int     `json:"concurrency"` // nodes at once on a worker; 256
}

func seconds(f, otherwise float64) time.Duration {
	return time.Duration(cmp.Or(f, otherwise) * float64(time.Second))
}

func (c *Config) drain() time.Duration { return seconds(c.Drain, 30) }

// firstWait is how long the first failure of the machinery is waited after.
const firstWait = time.Second

// checkTime is how long the server may take to say that it is there.
const checkTime = 10 * time.Second

// pollTime is how often it is looked whether a worker polls the task queue.
const pollTime = 2 * time.Second

// endTime is how long the end of a run is waited for that is cancelled.
const endTime = time.Minute

// maxNodes is how many nodes a run may have: each takes six events of its history, and Temporal keeps 51,200.
const maxNodes = 8000

// maxStart is how large the start of a run may be: Temporal takes 2 MB.
const maxStart = 1900 << 10

// Executor runs nodes on Temporal.
type Executor struct {
	config Config
	client client.Client
	where  kernel.Where
}

var _ executor.Executor = (*Executor)(nil)

// Open makes a client. It connects when it is used.
func Open(config Config, where kernel.Where, logger *slog.Logger) (*Executor, error) {
	config.Address = cmp.Or(config.Address, client.DefaultHostPort)
	config.Namespace = cmp.Or(config.Namespace, client.DefaultNamespace)
	config.TaskQueue = cmp.Or(config.TaskQueue, "hexdag")
	config.Attempts, config.Concurrency = cmp.Or(config.Attempts, 10), cmp.Or(config.Concurrency, 256)
	options := client.Options{HostPort: config.Address, Namespace: config.Namespace, Logger: log.NewStructuredLogger(logger.With("executor", "temporal"))}
	if config.TLS || config.CA != "" || config.Cert != "" {
		t, err := config.tls()
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the certificates of the executor cannot be read", Where: where, Why: err.Error(), Fix: "correct ca, cert and key", Err: err}
		}
		options.ConnectionOptions.TLS = t
	}
	if config.APIKey != "" {
		options.Credentials = client.NewAPIKeyStaticCredentials(config.APIKey)
	}
	c, err := client.NewLazyClient(options)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the executor's Temporal cannot be used", Where: where, Why: err.Error(), Fix: "correct spec.executor", Err: err}
	}
	return &Executor{config: config, client: c, where: where}, nil
}

func (c *Config) tls() (*tls.Config, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		text, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, err
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s holds no certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, err
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}

// Close implements executor.Executor.
func (x *Executor) Close() { x.client.Close() }

// check asks whether the server and the namespace are there. It waits for a server that is just started again.
func (x *Executor) check(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	for {
		_, err := x.client.WorkflowService().DescribeNamespace(within, &workflowservice.DescribeNamespaceRequest{Namespace: x.config.Namespace})
		if err == nil {
			return nil
		}
		var away *serviceerror.Unavailable
		if !errors.As(err, &away) || within.Err() != nil {
			return x.failure("the executor's Temporal cannot be reached", err)
		}
		select {
		case <-within.Done():
			return x.failure("the executor's Temporal cannot be reached", err)
		case <-time.After(checkPause):
		}
	}
}

// checkPause is how long a server that does not answer is left alone.
const checkPause = 200 * time.Millisecond

// failure gives an error of Temporal its words.
func (x *Executor) failure(what string, err error) error {
	var known *kernel.Error
	if errors.As(err, &known) {
		return err
	}
	e := &kernel.Error{Code: kernel.CodeUnavailable, What: what, Where: x.where, Why: kernel.Quote(err.Error()), Fix: "see that Temporal is well at " + kernel.Quote(x.config.Address), Err: err}
	var absent *serviceerror.NamespaceNotFound
	var denied *serviceerror.PermissionDenied
	switch {
	case errors.As(err, &absent):
		e.Code, e.Why = kernel.CodeConfig, "it has no namespace "+kernel.Quote(x.config.Namespace)
		e.Fix = "make it: temporal operator namespace create " + kernel.Quote(x.config.Namespace) + "; or correct namespace under spec.executor"
	case errors.As(err, &denied):
		e.Code, e.Fix = kernel.CodeDenied, "give spec.executor.config the api_key, or the certificate, of who may"
	case errors.Is(err, context.Canceled):
		e.Code = kernel.CodeCanceled
	default:
		e.Fix = "start Temporal there, or correct address under spec.executor: it is " + kernel.Quote(x.config.Address)
	}
	return e
}

// Run implements executor.Executor.
func (x *Executor) Run(ctx context.Context, start *executor.Start, w executor.Watcher) (*executor.Ended, error) {
	in := &input{
		Start: *start, Heartbeat: seconds(x.config.Heartbeat, 10), Attempts: x.config.Attempts, NodeTime: seconds(x.config.MaxNodeTime, 24*3600), FirstWait: firstWait,
	}
	if n := len(start.Graph.Nodes); n > maxNodes {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "pipeline " + kernel.Quote(start.Pipeline) + " is too large to be run on Temporal", Where: kernel.Where{Run: start.RunID},
			Why: fmt.Sprintf("it has %d nodes, the limit is %d: Temporal keeps so many events of a run", n, maxNodes), Fix: "split the pipeline, or put nodes into the bodies of composites, which are one node each; or run it on the local executor"}
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "the run cannot be written as JSON", Why: err.Error(), Fix: "report it", Err: err}
	}
	if len(text) > maxStart {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "pipeline " + kernel.Quote(start.Pipeline) + " is too large to be run on Temporal", Where: kernel.Where{Run: start.RunID},
			Why: fmt.Sprintf("its %d nodes and their edges take %d bytes, the limit of a message is %d", len(start.Graph.Nodes), len(text), maxStart), Fix: "split the pipeline, or run it on the local executor"}
	}
	beginning, cancel := unlessLeft(ctx) // what was accepted begins, whoever waits for it then
	defer cancel()
	if err := x.check(beginning); err != nil {
		return nil, err
	}
	_, err = x.client.ExecuteWorkflow(beginning, client.StartWorkflowOptions{
		ID: start.RunID, TaskQueue: x.config.TaskQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
		WorkflowIDReusePolicy: enums.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		Memo:                  map[string]any{memoPipeline: start.Pipeline, memoVersion: start.Version, memoWaits: []engine.Wait{}},
		StaticSummary:         start.Pipeline,
	}, workflowType, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "run " + kernel.Quote(start.RunID) + " has begun already", Where: kernel.Where{Run: start.RunID}, Why: "there is a workflow of that id", Fix: "start it under another id; to go on with one that waits: hexdag resume " + kernel.Quote(start.RunID), Err: err}
	}
	if err != nil {
		return nil, x.failure("the run cannot begin", err)
	}
	return x.await(ctx, start.RunID, 0, w)
}

// unlessLeft returns a context that ends as ctx does, but not where that is because the run is left to others.
func unlessLeft(ctx context.Context) (context.Context, context.CancelFunc) {
	on, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, executor.ErrLeft) {
			cancel(cause)
		}
	})
	return on, func() { stop(); cancel(nil) }
}

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

// pollerTime is how long ago a worker has polled at most that is there: a poll lasts a minute.
const pollerTime = 70 * time.Second

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

func noSuchRun(run string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "no run " + kernel.Quote(run) + " waits", Fix: "list those that do: hexdag resume --list"}
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

// Deliver implements executor.Executor.
func (x *Executor) Deliver(ctx context.Context, run string, event *executor.Event) (*executor.Ended, error) {
	delivering, cancel := unlessLeft(ctx)
	defer cancel()
	if err := x.check(delivering); err != nil {
		return nil, err
	}
	now, err := x.State(delivering, run)
	if err != nil {
		return nil, err
	}
	if now == nil || now.Status != engine.Suspended {
		return nil, noSuchRun(run)
	}
	waits := false
	names := ""
	for i, w := range now.Waits {
		waits = waits || event.Key == "" || w.EventKey == event.Key
		if i > 0 {
			names += ", "
		}
		names += kernel.Quote(w.EventKey)
	}
	if !waits {
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "run " + kernel.Quote(run) + " does not wait for that event", Why: "it waits for " + names, Fix: "name one of them"}
	}
	err = x.client.SignalWorkflow(delivering, run, "", eventSignal, event)
	var absent *serviceerror.NotFound
	if errors.As(err, &absent) {
		return nil, noSuchRun(run)
	}
	if err != nil {
		return nil, x.failure("the event cannot be given to the run", err)
	}
	return x.await(ctx, run, now.Round, nil)
}

// Waiting implements executor.Executor.
func (x *Executor) Waiting(ctx context.Context) ([]executor.Waiting, error) {
	if err := x.check(ctx); err != nil {
		return nil, err
	}
	var all []executor.Waiting
	var page []byte
	for {
		list, err := x.client.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = '" + workflowType + "' AND ExecutionStatus = 'Running'", NextPageToken: page})
		if err != nil {
			return nil, x.failure("the runs cannot be listed", err)
		}
		for _, e := range list.Executions {
			w := executor.Waiting{RunID: e.Execution.WorkflowId}
			fields := e.GetMemo().GetFields()
			c := converter.GetDefaultDataConverter()
			if c.FromPayload(fields[memoWaits], &w.Waits) != nil || len(w.Waits) == 0 {
				continue
			}
			_ = c.FromPayload(fields[memoPipeline], &w.Pipeline) // it is for the eye
			all = append(all, w)
		}
		if page = list.NextPageToken; len(page) == 0 {
			return all, nil
		}
	}
}
