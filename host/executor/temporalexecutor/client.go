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

// pollerTime is how long ago a worker has polled at most that is there: a poll lasts a minute.
const pollerTime = 70 * time.Second

func noSuchRun(run string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "no run " + kernel.Quote(run) + " waits", Fix: "list those that do: hexdag resume --list"}
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
