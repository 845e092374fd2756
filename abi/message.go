package abi

import "encoding/json"

// Run is the identity of the run that a call belongs to. The host fills it in:
// nothing that a guest says changes it.
type Run struct {
	ID        string            `json:"run_id"`
	ParentID  string            `json:"parent_run_id,omitempty"`
	Pipeline  string            `json:"pipeline"`
	Tenant    string            `json:"tenant"`
	Principal string            `json:"principal"`
	Labels    map[string]string `json:"labels,omitempty"`
	Usage     Usage             `json:"usage"`
}

// Usage is what a run has spent so far.
type Usage struct {
	LLMCalls     int64 `json:"llm_calls"`
	InputTokens  int64 `json:"input_tokens"`
	OutputTokens int64 `json:"output_tokens"`
	ToolCalls    int64 `json:"tool_calls"`
	PortCalls    int64 `json:"port_calls"`
}

// Node names the node that a call is about.
type Node struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Attempt int    `json:"attempt"`
}

// NodeMessage is the input of node_before, node_after and node_run. Input is
// there for all three; Output and Error for node_after, exactly one of them.
type NodeMessage struct {
	Run    Run      `json:"run"`
	Node   Node     `json:"node"`
	Input  any      `json:"input"`
	Output any      `json:"output,omitempty"`
	Error  *Problem `json:"error,omitempty"`
}

// PortMessage is the input of port_before and port_after. The request's raw
// bytes are the input's body at port_before, the reply's at port_after.
type PortMessage struct {
	Run     Run      `json:"run"`
	Node    string   `json:"node,omitempty"`
	Op      string   `json:"op"`
	Attempt int      `json:"attempt"` // of this hook at the call, from 1
	Chain   []string `json:"chain"`   // who asks: the principal, then each module on the way
	Args    any      `json:"args"`
	Reply   any      `json:"reply,omitempty"`
	Error   *Problem `json:"error,omitempty"`
}

// OperationMessage is the input of port_call. The request's raw bytes are its body.
type OperationMessage struct {
	Run   Run      `json:"run"`
	Node  string   `json:"node,omitempty"`
	Op    string   `json:"op"`
	Chain []string `json:"chain"`
	Args  any      `json:"args"`
}

// ToolMessage is the input of tool_call.
type ToolMessage struct {
	Run  Run    `json:"run"`
	Tool string `json:"tool"`
	Args any    `json:"args"`
}

// EventMessage is the input of observe.
type EventMessage struct {
	Run     Run   `json:"run"`
	Event   Event `json:"event"`
	Attempt int   `json:"attempt"` // deliveries of the event, from 1
}

// Event is a CloudEvent 1.0.
type Event struct {
	SpecVersion  string `json:"specversion"`
	ID           string `json:"id"`
	Source       string `json:"source"`
	Type         string `json:"type"`
	Subject      string `json:"subject"` // the topic
	Time         string `json:"time"`
	Tenant       string `json:"tenant"`
	PartitionKey string `json:"partitionkey,omitempty"`
	RunID        string `json:"runid,omitempty"`
	Hops         int    `json:"hops,omitempty"`
	Labels       string `json:"labels,omitempty"`     // JSON
	DeadLetter   string `json:"deadletter,omitempty"` // JSON
	Sequence     string `json:"sequence,omitempty"`   // digits, zeros before them
	ContentType  string `json:"datacontenttype,omitempty"`
	Data         any    `json:"data,omitempty"`
}

// Problem is how an error looks to a guest: in the reply document of a call that
// failed, and in the payload of an after-hook.
type Problem struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// Manifest is what a module says of itself in the custom section
// ManifestSection. It asks; only the operator grants.
type Manifest struct {
	Name         string          `json:"name"`
	Version      string          `json:"version"`
	Description  string          `json:"description,omitempty"`
	Tools        []Tool          `json:"tools,omitempty"`
	Operations   []Operation     `json:"operations,omitempty"`
	Capabilities []Capability    `json:"capabilities,omitempty"`
	ConfigSchema json.RawMessage `json:"config_schema,omitempty"`
}

// Tool describes one tool that tool_call answers to. The schemas are JSON Schema 2020-12.
type Tool struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema,omitempty"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
}

// Operation describes one operation of a port that port_call does. The schemas are
// JSON Schema 2020-12.
type Operation struct {
	Name        string `json:"name"` // "port.method"
	Description string `json:"description,omitempty"`
	// Guards are the arguments, strings at the top level, that a capability can
	// restrict. The first is what the operation is done to.
	Guards       []string        `json:"guards,omitempty"`
	InputSchema  json.RawMessage `json:"input_schema,omitempty"`
	OutputSchema json.RawMessage `json:"output_schema,omitempty"`
}
