// Package journal keeps what runs do, in order: their calls of ports with what these answered, decisions of governance, readings of
// the clock, random draws, calls of modules with their fuel, and events. A run that its host did not live to end goes on from its journal
// without doing anything twice, and one that has ended can be done again without the world, or with other modules and rules.
//
// README.md is the specification of the format.
package journal

import (
	"encoding/json"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Version is that of the format which is written; a reader refuses a later one.
const Version = 1

// Kind says what an entry is of.
type Kind string

// The kinds of entries.
const (
	Begin    Kind = "begin"    // of a run, or of what follows after it was suspended: Head
	Recover  Kind = "recover"  // another process took the run up where its host had died: Host, InFlight
	Done     Kind = "done"     // a node is done: State, Value, Labels, Failed, Cached, Pause, Reads
	Decision Kind = "decision" // of governance, about the call that follows in the lane
	Call     Kind = "call"     // a port was called: written before that is done
	Reply    Kind = "reply"    // what it answered: Value, Body, Labels, or Failed
	Draw     Kind = "draw"     // Op is clock.read or random.read: Body
	Enter    Kind = "enter"    // a module was called: Module, Digest, Point, Usage; or Go code: Op
	Leave    Kind = "leave"    // it returned: Took, Verdict, or Failed
	Ran      Kind = "ran"      // a module was called and returned, and did nothing else meanwhile: what Enter and Leave have
	Local    Kind = "local"    // Go code of the embedding program: Op names it; Value, Verdict, or Failed
	Answer   Kind = "answer"   // a node's answer was taken from the cache: Value, Labels, Cached
	Told     Kind = "event"    // the run's observer was told of an event
	End      Kind = "end"      // of the run, or of what it did until it was suspended: Status, Value (its output), Failed; where the journal has it go on, Head and Pause
)

// Entry is one thing that a run did. Members that do not apply to its kind are empty.
type Entry struct {
	Seq  uint64    `json:"seq"` // from 1, without gaps
	Kind Kind      `json:"kind"`
	Time time.Time `json:"time"`
	// Lane is the path of what did it, which does one thing at a time: a node's name, below that the bodies and nodes
	// of a composite, "loop/2/inner"; "" is the run itself.
	Lane string `json:"lane,omitempty"`

	Head     *Head                 `json:"head,omitempty"`
	Host     string                `json:"host,omitempty"`
	InFlight []InFlight            `json:"in_flight,omitempty"`
	Op       string                `json:"op,omitempty"`
	Key      string                `json:"key,omitempty"`    // the idempotency key that the call offers its port
	Digest   string                `json:"digest,omitempty"` // of a call's arguments and body; of a module
	Args     kernel.Value          `json:"args,omitempty"`   // as governance lets them be seen
	Value    kernel.Value          `json:"value,omitempty"`
	Body     []byte                `json:"body,omitempty"`
	Labels   *kernel.Labels        `json:"labels,omitempty"`
	Failed   *kernel.Error         `json:"failed,omitempty"`
	Decided  *kernel.Decision      `json:"decided,omitempty"`
	Asked    json.RawMessage       `json:"asked,omitempty"` // what governance was asked, where that is kept
	Module   string                `json:"module,omitempty"`
	Point    string                `json:"point,omitempty"`
	Verdict  string                `json:"verdict,omitempty"`
	Usage    *kernel.UsageSnapshot `json:"usage,omitempty"`   // what the module was told that the run had used
	Charges  []kernel.Charge       `json:"charges,omitempty"` // what a call has cost its run
	Reads    []string              `json:"reads,omitempty"`   // the artifacts that the node had read by then
	State    State                 `json:"state,omitempty"`
	Pause    json.RawMessage       `json:"pause,omitempty"` // what a node, or a run, that waits goes on with
	Cached   *kernel.Cached        `json:"cached,omitempty"`
	Event    *kernel.Event         `json:"event,omitempty"`
	Status   string                `json:"status,omitempty"`
	Redacted bool                  `json:"redacted,omitempty"` // values were taken out later
	Took                           // of a module's call, its budgets

	request *Request // whose digest is due when the entry is written
}

// Seal completes an entry before it is written: what takes time, and nobody waits for.
func (e *Entry) Seal() {
	if e.request != nil {
		e.Digest, e.request = Digest(e.request.Args, e.request.Body), nil
	}
}

// Masked reports whether the arguments of a call are not as they were: those that governance does not let be seen are not there.
func (e *Entry) Masked() bool {
	args, _ := e.Args.(map[string]any)
	return e.Digest != "" && e.Digest != Digest(args, nil)
}

// Scope is the Point of a call that whoever makes it ends with its own work.
const Scope = "lock"

// State is what became of a node.
type State string

// The states of nodes.
const (
	Finished State = "finished" // also where its failure was handled
	Skipped  State = "skipped"
	Failed   State = "failed"
	Waiting  State = "waiting"
)

// InFlight is a call that was under way when its host died: nobody knows whether it was done.
type InFlight struct {
	Lane string `json:"lane"`
	Op   string `json:"op"`
	Key  string `json:"key,omitempty"`
}

// Head is what a run, or a part of it that follows after it was suspended, begins with.
type Head struct {
	Format      int               `json:"format"` // Version
	Run         string            `json:"run"`
	Parent      string            `json:"parent,omitempty"`
	Tenant      string            `json:"tenant"`
	Principal   string            `json:"principal"`
	Pipeline    string            `json:"pipeline"`
	Version     string            `json:"version"` // "sha256:..." of all that was read for the pipeline
	File        string            `json:"file"`    // the pipeline's, as Source has it
	Environment string            `json:"environment,omitempty"`
	Source      map[string]string `json:"source"`           // the files that were read, and their digests; the blobs hold them
	Modules     map[string]string `json:"modules"`          // by name, their digests; the blobs hold them
	Policy      string            `json:"policy,omitempty"` // the revision of governance
	Config      string            `json:"config,omitempty"` // the digest of the operator's configuration
	Host        string            `json:"host"`
	Labels      map[string]string `json:"labels,omitempty"`
	InputLabels *kernel.Labels    `json:"input_labels,omitempty"`
	Caps        kernel.CapSet     `json:"caps"`
	Origin      kernel.Origin     `json:"origin,omitzero"`
	Fresh       bool              `json:"fresh,omitempty"`
	Trace       string            `json:"trace,omitempty"` // of the run's first span, as W3C's traceparent and, behind a space, tracestate
	Input       kernel.Value      `json:"input"`
	// Resumption is what a run that was suspended goes on with; nil at its beginning.
	Resumption json.RawMessage `json:"resumption,omitempty"`
}
