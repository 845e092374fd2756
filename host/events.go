package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/ports/eventbus"
)

// What the host itself publishes. A name is made a part of a topic by eventbus.Part.
//
//	hexdag.pipeline.NAME.started
//	hexdag.pipeline.NAME.completed, .failed, .denied, .cancelled or .suspended
//	hexdag.entity.TYPE.STATE        an entity has come to a state
//	hexdag.node.PIPELINE.NODE.started, .completed, .failed and so on; with node_events
const (
	pipelineTopic = eventbus.HostTopics + "pipeline."
	entityTopic   = eventbus.HostTopics + "entity."
	nodeTopic     = eventbus.HostTopics + "node."
)

// maxOutput is how many bytes of a run's output are published with its end; a larger one
// is left out, and output_omitted says so.
const maxOutput = 64 << 10

// Bus returns the host's event bus, on which the host says what becomes of runs and
// entities.
func (h *Host) Bus() *eventbus.Bus { return h.bus }

// Tenant returns whose runs the host's are.
func (h *Host) Tenant() string { return h.tenant() }

// remembered reports whether who is told of something knows it after this process, too.
func (h *Host) remembered() bool { return h.bus != nil && h.bus.Capabilities().Durable }

// tellTimeout is how long a run waits for the bus to take what the host says of it.
const tellTimeout = 10 * time.Second

// tell publishes an event of the host's whose data carries labels. A run does not fail because nobody could be
// told of it: the log says so.
func (h *Host) tell(ctx context.Context, run *kernel.RunContext, e *eventbus.Event, data any, labels *kernel.Labels) {
	if h.bus == nil { // the host does a recorded run again
		return
	}
	text, err := json.Marshal(data)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellTimeout)
		defer cancel()
		e.Data, e.Tenant, e.Source = text, run.Tenant, "/pipelines/"+run.PipelineName
		e.RunID, e.Labels = run.RunID, labels.Mark(run.Labels)
		_, err = h.bus.Publish(ctx, e)
	}
	if err != nil {
		h.log.Error("an event of the host is not published", "topic", e.Topic, "run", run.RunID, "error", err.Error())
	}
}

// runEvent is the data of the events of a run.
type runEvent struct {
	Pipeline      string                `json:"pipeline"`
	RunID         string                `json:"run_id"`
	ParentRunID   string                `json:"parent_run_id,omitempty"`
	Principal     string                `json:"principal"`
	Status        string                `json:"status"`
	Output        json.RawMessage       `json:"output,omitempty"`
	OutputOmitted bool                  `json:"output_omitted,omitempty"`
	Error         *kernel.Error         `json:"error,omitempty"`
	Waits         []engine.Wait         `json:"waits,omitempty"`
	Usage         *kernel.UsageSnapshot `json:"usage,omitempty"`
	DurationMS    float64               `json:"duration_ms,omitempty"`
}

func (h *Host) runTopic(run *kernel.RunContext, status string) *eventbus.Event {
	return &eventbus.Event{
		ID: run.RunID + "." + status, Type: pipelineTopic + status, Topic: pipelineTopic + eventbus.Part(run.PipelineName) + "." + status, Key: run.RunID,
	}
}

func (h *Host) runStarted(ctx context.Context, run *kernel.RunContext) {
	h.libraries.started(run)
	h.tell(ctx, run, h.runTopic(run, "started"), runEvent{Pipeline: run.PipelineName, RunID: run.RunID, ParentRunID: run.ParentRunID, Principal: run.Principal, Status: "started"}, nil)
}

// runEnded publishes how a run ended, with its output.
func (h *Host) runEnded(ctx context.Context, run *kernel.RunContext, r *Result) {
	h.libraries.ended(run, r)
	data := runEvent{
		Pipeline: run.PipelineName, RunID: run.RunID, ParentRunID: run.ParentRunID, Principal: run.Principal, Status: string(r.Status),
		Error: r.Error, Waits: r.Waits, Usage: &r.Usage, DurationMS: float64(time.Since(run.Started).Microseconds()) / 1000,
	}
	if text, err := kernel.EncodeJSON(outputOf(r)); err != nil || len(text) > maxOutput {
		data.OutputOmitted = true
	} else {
		data.Output = text
	}
	e := h.runTopic(run, string(r.Status))
	if r.Status == engine.Suspended { // it may come to that again
		e.ID = ""
	}
	h.tell(ctx, run, e, data, joinedNodes(r).Join(run.InputLabels))
}

// outputOf is what came of a run: its output, or, as the command shows a pipeline that names none, what its nodes answered.
func outputOf(r *Result) map[string]kernel.Value {
	if len(r.Output) == 0 {
		return r.NodeResults
	}
	return r.Output
}

// entityChanged publishes that an entity has come to a state.
func (h *Host) entityChanged(ctx context.Context, c *entitystate.Change) {
	run := kernel.RunFrom(ctx)
	if run == nil {
		run = &kernel.RunContext{Tenant: c.Tenant}
	}
	e := &eventbus.Event{Type: entityTopic + "changed", Topic: entityTopic + eventbus.Part(c.Entity) + "." + eventbus.Part(c.To), Key: c.Entity + ":" + c.ID}
	h.tell(ctx, run, e, changeValue(c), kernel.FlowFrom(ctx).Labels())
}

// nodeStates are what becomes of a node, in the words of topics.
var nodeStates = map[kernel.EventType]string{
	kernel.NodeStarted: "started", kernel.NodeCompleted: "completed", kernel.NodeFailed: "failed",
	kernel.NodeCancelled: "cancelled", kernel.NodeSkipped: "skipped", kernel.NodeRetrying: "retrying",
}

// observed adds to a run's observer one that publishes what becomes of nodes, where
// the operator wants that.
func (h *Host) observed(ctx context.Context, observer kernel.Observer) kernel.Observer {
	if !h.busConfig.NodeEvents {
		return observer
	}
	return func(event *kernel.Event) {
		if observer != nil {
			observer(event)
		}
		state, ok := nodeStates[event.Type]
		if !ok {
			return
		}
		run := &kernel.RunContext{Tenant: event.Tenant, RunID: event.RunID, PipelineName: event.Pipeline}
		e := &eventbus.Event{Type: nodeTopic + state, Topic: nodeTopic + eventbus.Part(event.Pipeline) + "." + eventbus.Part(event.Node) + "." + state, Key: event.RunID}
		h.tell(ctx, run, e, event, event.Labels)
	}
}
