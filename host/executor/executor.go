// Package executor decides where the nodes of runs work. The default is the process that starts
// a run: the engine alone. Beyond that, an executor has an engine for durable execution keep the
// run and hand its nodes, one task each, to workers: processes with the same operator's configuration.
//
// What is here is portable: what a run is told and tells, where its values are, and the schedule of a
// graph, which is deterministic. A backend is a package below.
package executor

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// Executor starts runs whose nodes work on workers. Its methods may be called from several
// goroutines. Errors are *kernel.Error.
type Executor interface {
	// Run starts a run and returns when it has ended, or waits for events with nothing under way. When ctx
	// ends, so does the run: it is cancelled, and waited for; but where the cause is ErrLeft the run begins, and goes on, and that cause is returned. The watcher, which may be nil, is told how it goes, by the caller's goroutine.
	Run(ctx context.Context, start *Start, w Watcher) (*Ended, error)
	// Deliver gives an event to a run that waits for it, and returns as Run does.
	Deliver(ctx context.Context, run string, event *Event) (*Ended, error)
	// Await returns when a run has ended, or waits for more than it did when it had waited so many times. When ctx ends,
	// the run goes on.
	Await(ctx context.Context, run string, round int) (*Ended, error)
	// State returns how far a run has come that waits, or has ended.
	State(ctx context.Context, run string) (*Ended, error)
	// Waiting returns the runs that wait for events.
	Waiting(ctx context.Context) ([]Waiting, error)
	// Work has this process do the work on nodes, until ctx ends and what is under way has ended or been handed back.
	Work(ctx context.Context, nodes Nodes) error
	// Close gives up the connection.
	Close()
}

// ErrLeft is the cause of the end of a context whose run goes on elsewhere.
var ErrLeft = errors.New("the run is left to others")

// Watcher is told how a run goes.
type Watcher interface {
	// Waits is told that nobody works on the run, and why.
	Waits(why error)
	// Ended is told what came of nodes, soon after it did, and of those alone that it was not told of.
	Ended(nodes []Result)
}

// Nodes does the work on nodes. An error is one of the machinery: the work is tried again, here or elsewhere. What
// a node or a run fails with is in what is returned.
type Nodes interface {
	RunNode(ctx context.Context, task *Task) (*Done, error)
	Settle(ctx context.Context, s *Settling) (*Done, error)
	Conclude(ctx context.Context, c *Conclusion) (*Ended, error)
	// Hold holds the lock of a run until ctx ends; held is told when it is acquired.
	Hold(ctx context.Context, task *Task, held func(Held) error) error
}

// Start is what a run begins with.
type Start struct {
	RunID    string `json:"run_id"`
	Tenant   string `json:"tenant"`
	Pipeline string `json:"pipeline"`
	Version  string `json:"version"`
	Head     Ref    `json:"head"`
	Graph    Graph  `json:"graph"`
}

// Head is what all work on a run is done with.
type Head struct {
	RunID       string            `json:"run_id"`
	ParentRunID string            `json:"parent_run_id,omitempty"`
	Pipeline    string            `json:"pipeline"`
	Process     string            `json:"process,omitempty"` // of a system, that the pipeline is
	Version     string            `json:"version"`
	File        string            `json:"file"` // one of Sources
	Environment string            `json:"environment,omitempty"`
	Tenant      string            `json:"tenant"`
	Principal   string            `json:"principal"`
	Labels      map[string]string `json:"labels,omitempty"`
	InputLabels *kernel.Labels    `json:"input_labels,omitempty"`
	Caps        kernel.CapSet     `json:"caps"`
	Origin      kernel.Origin     `json:"origin,omitzero"`
	Started     time.Time         `json:"started"`
	Trace       string            `json:"trace,omitempty"` // of the run's span
	Fresh       bool              `json:"fresh,omitempty"`
	Durable     bool              `json:"durable,omitempty"`  // what its nodes do is taken down
	Observed    bool              `json:"observed,omitempty"` // events are wanted
	Input       json.RawMessage   `json:"input"`
	Sources     []Bytes           `json:"sources"`
	Modules     []Bytes           `json:"modules,omitempty"`
}

// Bytes are what a file of a pipeline or a module has: an artifact.
type Bytes struct {
	Name     string `json:"name"` // the module's, or the file's path below the pipeline's folder
	Digest   string `json:"digest"`
	Artifact string `json:"artifact"`
}

// Graph is a pipeline as it is scheduled.
type Graph struct {
	Nodes       []Node        `json:"nodes"`
	Concurrency int           `json:"concurrency"`
	Timeout     time.Duration `json:"timeout_ns,omitempty"` // from the start, or from when it goes on
	TimeoutWhy  string        `json:"timeout_why,omitempty"`
	Lock        bool          `json:"lock,omitempty"`
}

// Node is a node as it is scheduled.
type Node struct {
	Name  string        `json:"name"`
	After []int         `json:"after,omitempty"`   // what it depends on
	Reads []int         `json:"reads,omitempty"`   // whose results it is given
	Most  time.Duration `json:"most_ns,omitempty"` // that the work on it can take; 0 is not known
}

// Ref is a value: itself where it is small, or an artifact that holds it.
type Ref struct {
	Inline   json.RawMessage `json:"v,omitempty"`
	Artifact string          `json:"a,omitempty"`
	Size     int             `json:"s,omitempty"` // bytes of JSON
}

// Empty reports whether it is no value.
func (r Ref) Empty() bool { return r.Inline == nil && r.Artifact == "" }

// Result is what came of a node: an Outcome.
type Result struct {
	Node    string           `json:"node"`
	State   engine.NodeState `json:"state"`
	Outcome Ref              `json:"outcome"`
}

// Outcome is what came of the work on a node, with the events of it where they are wanted.
type Outcome struct {
	engine.NodeOutcome
	Reads  []string        `json:"reads,omitempty"` // artifacts that a node has read which waits
	Events []*kernel.Event `json:"events,omitempty"`
}

// Task is the work on a node.
type Task struct {
	Head   Ref            `json:"head"`
	RunID  string         `json:"run_id"`
	Node   string         `json:"node"`
	Round  int            `json:"round,omitempty"` // how often it has gone on after it waited
	Reads  []Result       `json:"reads,omitempty"`
	Since  time.Time      `json:"since"`
	Spent  kernel.Spent   `json:"spent,omitzero"`
	Kept   []Ref          `json:"kept,omitempty"` // of the run's memory, the later over the earlier
	Bound  int            `json:"bound"`          // bytes of JSON that the answer may have inline
	Before *Ref           `json:"before,omitempty"`
	Events []Event        `json:"events,omitempty"` // that came for it
	Fences []kernel.Fence `json:"fences,omitempty"` // of the run's lock
}

// Key names the work on the node, however often it is begun.
func (t *Task) Key() string { return t.RunID + "/" + t.Node }

// Event is an event that a run waits for.
type Event struct {
	Key    string         `json:"key"` // "" is every one that the run waits for
	Data   Ref            `json:"data"`
	Labels *kernel.Labels `json:"labels,omitempty"`
	// Labelled says that Labels are all that is to be said of the data; else nobody vouches for it.
	Labelled bool     `json:"labelled,omitempty"`
	Path     []string `json:"path,omitempty"` // inside of the node
}

// Done is what came of a task.
type Done struct {
	State   engine.NodeState `json:"state"`
	Outcome Ref              `json:"outcome"`
	Waits   []engine.Wait    `json:"waits,omitempty"`
	Spent   kernel.Spent     `json:"spent,omitzero"`    // by the task
	Stopped bool             `json:"stopped,omitempty"` // the run's time was up, or it was cancelled
	Kept    *Ref             `json:"kept,omitempty"`    // what it put into the run's memory
}

// Held is the lock that a run has acquired.
type Held struct {
	Fences []kernel.Fence `json:"fences,omitempty"`
	Spent  kernel.Spent   `json:"spent,omitzero"`
}

// Memory is what a task put into the run's memory.
type Memory struct {
	Values map[string]kernel.Value   `json:"values"`
	Labels map[string]*kernel.Labels `json:"labels,omitempty"`
}

// Settling is the end of a wait: its event came, or, where Event is nil, its time is up.
type Settling struct {
	Head   Ref         `json:"head"`
	Wait   engine.Wait `json:"wait"`
	Before Ref         `json:"before"`
	Event  *Event      `json:"event,omitempty"`
	Bound  int         `json:"bound"`
}

// Conclusion is what the end of a run is made of.
type Conclusion struct {
	Head     Ref           `json:"head"`
	Results  []Result      `json:"results"` // of all nodes that there are any of
	Done     int           `json:"done"`
	Waits    []engine.Wait `json:"waits,omitempty"`
	Stopped  bool          `json:"stopped,omitempty"`
	TimedOut bool          `json:"timed_out,omitempty"`
	Why      string        `json:"why,omitempty"`
	// Failed is what the run failed with beside its nodes.
	Failed *kernel.Error `json:"failed,omitempty"`
	Spent  kernel.Spent  `json:"spent,omitzero"`
	Bound  int           `json:"bound"`
}

// Ended is how a run has ended, or how far it has come that waits.
type Ended struct {
	Status engine.Status `json:"status"`
	Output Ref           `json:"output"`
	Error  *kernel.Error `json:"error,omitempty"`
	Waits  []engine.Wait `json:"waits,omitempty"`
	Nodes  []Result      `json:"nodes,omitempty"`
	Spent  kernel.Spent  `json:"spent,omitzero"`
	Round  int           `json:"round"` // how often it has waited
}

// Waiting is a run that waits.
type Waiting struct {
	RunID    string        `json:"run_id"`
	Pipeline string        `json:"pipeline"`
	Waits    []engine.Wait `json:"waits"`
}
