package kernel

import "time"

// EventType names an event of a run, in hexDAG's words.
type EventType string

// The events of a run.
const (
	PipelineStarted   EventType = "PipelineStarted"
	PipelineCompleted EventType = "PipelineCompleted" // the one terminal event, whatever the ending
	NodeStarted       EventType = "NodeStarted"
	NodeCompleted     EventType = "NodeCompleted"
	NodeFailed        EventType = "NodeFailed"
	NodeCancelled     EventType = "NodeCancelled"
	NodeSkipped       EventType = "NodeSkipped"
	NodeRetrying      EventType = "NodeRetrying"
	WaveCompleted     EventType = "WaveCompleted"
	PortCalled        EventType = "PortCallEvent"
	HookDecided       EventType = "HookDecided"
	GovernanceDecided EventType = "GovernanceDecided" // asked by the pipeline itself
)

// Event is something that happened in a run. Fields that do not apply are empty.
type Event struct {
	Type        EventType `json:"type"`
	Time        time.Time `json:"time"`
	RunID       string    `json:"run_id"`
	ParentRunID string    `json:"parent_run_id,omitempty"`
	Pipeline    string    `json:"pipeline"`
	Tenant      string    `json:"tenant"`

	Node         string   `json:"node,omitempty"`
	Kind         string   `json:"kind,omitempty"`
	Wave         int      `json:"wave,omitempty"` // from 1
	Dependencies []string `json:"dependencies,omitempty"`
	Nodes        int      `json:"nodes,omitempty"`
	Waves        int      `json:"waves,omitempty"`
	Attempt      int      `json:"attempt,omitempty"`
	Op           string   `json:"op,omitempty"`
	Module       string   `json:"module,omitempty"`
	Action       string   `json:"action,omitempty"` // of a hook; of governance, the effect
	Status       string   `json:"status,omitempty"`
	Reason       string   `json:"reason,omitempty"`
	Rules        []string `json:"rules,omitempty"` // of a decision
	DurationMS   float64  `json:"duration_ms,omitempty"`
	Result       Value    `json:"result,omitempty"`
	Error        *Error   `json:"error,omitempty"`
}

// Observer is told of events. It must return soon and must not change the event.
type Observer func(*Event)
