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

	GovernanceNotified EventType = "GovernanceNotified" // an obligation: Action says whom

	PipelineSuspended     EventType = "PipelineSuspended" // before the terminal event
	PipelineResumed       EventType = "PipelineResumed"
	NodeWarned            EventType = "NodeWarned" // an expression failed and made null
	BodyStarted           EventType = "BodyStarted"
	BodyCompleted         EventType = "BodyCompleted"
	BodyFailed            EventType = "BodyFailed"
	LLMTokenStreamed      EventType = "LLMTokenStreamed"
	ResourceWarning       EventType = "ResourceWarning"
	ResourceLimitExceeded EventType = "ResourceLimitExceeded"
	StateTransitioned     EventType = "StateTransitionEvent"
	SystemStarted         EventType = "SystemStarted"
	SystemCompleted       EventType = "SystemCompleted"
	ProcessStarted        EventType = "ProcessStarted"
	ProcessCompleted      EventType = "ProcessCompleted"
	EntityCollected       EventType = "EntityGarbageCollected"
	RunWaits              EventType = "RunWaits" // for a worker: none polls
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
	Labels       *Labels  `json:"labels,omitempty"` // of a node's result, or of what went into a call and came of it
	Cached       *Cached  `json:"cached,omitempty"` // where a node's answer is from

	Body      string  `json:"body,omitempty"` // inline, inline[i], or a file
	EventKey  string  `json:"event_key,omitempty"`
	Resource  string  `json:"resource,omitempty"` // the limit's name
	Used      float64 `json:"used,omitempty"`
	Limit     float64 `json:"limit,omitempty"`
	Entity    string  `json:"entity,omitempty"`
	EntityID  string  `json:"entity_id,omitempty"`
	FromState string  `json:"from_state,omitempty"`
	ToState   string  `json:"to_state,omitempty"`
	System    string  `json:"system,omitempty"`
	Process   string  `json:"process,omitempty"`
	Dropped   int64   `json:"dropped,omitempty"` // events that a slow observer was not told of
}

// Cached says where a node's answer is from that it did not work for.
type Cached struct {
	RunID    string    `json:"run_id"`   // whose node worked for it
	Artifact string    `json:"artifact"` // that holds it
	Stored   time.Time `json:"stored"`
}

// Observer is told of events. It must return soon and must not change the event.
type Observer func(*Event)
