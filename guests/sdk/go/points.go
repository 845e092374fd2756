package hexdag

// NodeCall is what node_before, node_after and node_run get.
type NodeCall struct{}

// NodeFunc handles node_before, node_after or node_run.
type NodeFunc func(*NodeCall) Verdict

// Serve runs the handler as an export does.
func (f NodeFunc) Serve() uint64 {
	if f == nil {
		return Serve(unregistered)
	}
	return Serve(func() Verdict { return f(&NodeCall{}) })
}

// Payload is the whole message.
func (*NodeCall) Payload() Doc { return Doc{id: docInput} }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (*NodeCall) Run() Doc { return Doc{docInput, "/run"} }

// Node returns the node's name.
func (*NodeCall) Node() string { return Doc{id: docInput}.String("/node/name") }

// Input is the node's input. A hook before a node may patch it.
func (*NodeCall) Input() Doc { return Doc{docInput, "/input"} }

// Output is what the node gave, absent if it failed. A hook after a node may
// patch it; setting the output of a node that failed makes good the failure.
func (*NodeCall) Output() Doc { return Doc{docInput, "/output"} }

// Problem is why the node failed: /code and /message; absent if it did not.
func (*NodeCall) Problem() Doc { return Doc{docInput, "/error"} }

// Result is where a node's body, or a hook that skips it, puts the output.
func (*NodeCall) Result() Doc { return Doc{id: docOutput} }

// PortCall is what port_before and port_after get.
type PortCall struct{}

// PortFunc handles port_before or port_after.
type PortFunc func(*PortCall) Verdict

// Serve runs the handler as an export does.
func (f PortFunc) Serve() uint64 {
	if f == nil {
		return Serve(unregistered)
	}
	return Serve(func() Verdict { return f(&PortCall{}) })
}

// Payload is the whole message. Its body is the request's raw bytes before the
// call, the reply's after it.
func (*PortCall) Payload() Doc { return Doc{id: docInput} }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (*PortCall) Run() Doc { return Doc{docInput, "/run"} }

// Op returns the operation, "port.method".
func (*PortCall) Op() string { return Doc{id: docInput}.String("/op") }

// Attempt counts this hook's attempts at the call, from 1: RetryAfter makes another.
func (*PortCall) Attempt() int64 { return Doc{id: docInput}.Int("/attempt", 1) }

// Args is the call's arguments. A hook before a call may patch them.
func (*PortCall) Args() Doc { return Doc{docInput, "/args"} }

// Reply is what the port answered, absent if the call failed. A hook after a
// call may patch it.
func (*PortCall) Reply() Doc { return Doc{docInput, "/reply"} }

// Problem is why the call failed: /code and /message; absent if it did not.
func (*PortCall) Problem() Doc { return Doc{docInput, "/error"} }

// Result is where a hook that skips the call puts the reply, and its body.
func (*PortCall) Result() Doc { return Doc{id: docOutput} }

// ToolCall is what tool_call gets.
type ToolCall struct{}

// ToolFunc handles tool_call.
type ToolFunc func(*ToolCall) Verdict

// Serve runs the handler as an export does.
func (f ToolFunc) Serve() uint64 {
	if f == nil {
		return Serve(unregistered)
	}
	return Serve(func() Verdict { return f(&ToolCall{}) })
}

// Payload is the whole message.
func (*ToolCall) Payload() Doc { return Doc{id: docInput} }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (*ToolCall) Run() Doc { return Doc{docInput, "/run"} }

// Tool returns the name of the tool that is called.
func (*ToolCall) Tool() string { return Doc{id: docInput}.String("/tool") }

// Args is the tool's arguments.
func (*ToolCall) Args() Doc { return Doc{docInput, "/args"} }

// Result is where the tool puts what it gives.
func (*ToolCall) Result() Doc { return Doc{id: docOutput} }

// OperationCall is what port_call gets: an operation of a port to do.
type OperationCall struct{}

// OperationFunc handles port_call.
type OperationFunc func(*OperationCall) Verdict

// Serve runs the handler as an export does.
func (f OperationFunc) Serve() uint64 {
	if f == nil {
		return Serve(unregistered)
	}
	return Serve(func() Verdict { return f(&OperationCall{}) })
}

// Payload is the whole message, and the request's raw bytes beside it.
func (*OperationCall) Payload() Doc { return Doc{id: docInput} }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (*OperationCall) Run() Doc { return Doc{docInput, "/run"} }

// Op returns the operation, "port.method".
func (*OperationCall) Op() string { return Doc{id: docInput}.String("/op") }

// Args is the operation's arguments.
func (*OperationCall) Args() Doc { return Doc{docInput, "/args"} }

// Result is where the reply goes, and its raw bytes. Fail with the name of a status,
// such as not_found, is what the caller gets in its place.
func (*OperationCall) Result() Doc { return Doc{id: docOutput} }

// GovernanceCall is what authorize, audit and permissions get.
type GovernanceCall struct{}

// GovernanceFunc handles authorize, audit or permissions.
type GovernanceFunc func(*GovernanceCall) Verdict

// Serve runs the handler as an export does.
func (f GovernanceFunc) Serve() uint64 {
	if f == nil {
		return Serve(unregistered)
	}
	return Serve(func() Verdict { return f(&GovernanceCall{}) })
}

// Payload is the whole message.
func (*GovernanceCall) Payload() Doc { return Doc{id: docInput} }

// Run is the run's identity and usage: /run_id, /tenant, /usage/input_tokens, ...
func (*GovernanceCall) Run() Doc { return Doc{docInput, "/run"} }

// Subject is who asks, or of whom is asked: /type, /id, /tenant, /on_behalf_of.
func (*GovernanceCall) Subject() Doc { return Doc{docInput, "/subject"} }

// Action returns what is to be done.
func (*GovernanceCall) Action() string { return Doc{id: docInput}.String("/action/name") }

// Args is what it is to be done with.
func (*GovernanceCall) Args() Doc { return Doc{docInput, "/action/args"} }

// Resource is what it is to be done to: /type and /id.
func (*GovernanceCall) Resource() Doc { return Doc{docInput, "/resource"} }

// Context is the circumstance: /run_id, /pipeline, /node, /labels, /usage.
func (*GovernanceCall) Context() Doc { return Doc{docInput, "/context"} }

// Record is the audit record that is to be written.
func (*GovernanceCall) Record() Doc { return Doc{docInput, "/record"} }

// Result is where a decision goes, or a list of permissions. Without one there is no answer.
func (*GovernanceCall) Result() Doc { return Doc{id: docOutput} }

// Decide gives a decision, "allow", "deny" or "approve", with the rule that it
// follows from. Return what it returns.
func (g *GovernanceCall) Decide(effect, rule, message string) Verdict {
	result := g.Result()
	result.SetString("/effect", effect)
	result.SetJSON("/reasons", "[{}]")
	result.SetString("/reasons/0/id", rule)
	result.SetString("/reasons/0/msg", message)
	return Continue()
}
