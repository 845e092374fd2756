package extension

import (
	"bytes"
	"context"
	"maps"
	"slices"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/schema"
)

type operation struct {
	abi.Operation
	input, output *schema.Schema
}

func (m *version) compileOperations() error {
	m.ops = map[string]operation{}
	if m.Manifest() == nil {
		return nil
	}
	for _, o := range m.Manifest().Operations {
		compiled := operation{Operation: o}
		var err error
		if compiled.input, compiled.output, err = compileSchemas("operation "+kernel.Quote(o.Name), o.InputSchema, o.OutputSchema); err != nil {
			return err
		}
		m.ops[o.Name] = compiled
	}
	return nil
}

// Operations returns the operations that the current version's manifest describes, by name.
func (m *Module) Operations() []abi.Operation {
	v := m.latest()
	list := make([]abi.Operation, 0, len(v.ops))
	for _, name := range slices.Sorted(maps.Keys(v.ops)) {
		list = append(list, v.ops[name].Operation)
	}
	return list
}

// Serve does an operation of a port that the module implements, on behalf of whoever
// calls: what it calls itself needs the rights of the whole chain. Arguments and
// reply are held to the operation's schemas.
//
// The verdict error has the code that portCode makes of the guest's, deny
// CodeDenied, retry_after CodeRetry.
func (m *Module) Serve(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	where := kernel.Where{Module: v.ID(), Node: call.Node}
	if ctx.Err() != nil { // a short call would not notice
		return nil, kernel.At(kernel.ContextError(ctx), where)
	}
	o, described := v.ops[call.Op]
	if !described {
		return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: "module " + kernel.Quote(m.Name()) + " does not do " + kernel.Quote(call.Op), Where: where,
			Why: "its manifest describes no such operation", Fix: "describe it under operations in manifest.json, and do it in port_call"}
	}
	if err := hold(o.input, call.Args, kernel.CodeArguments, "the arguments of "+call.Op); err != nil {
		return nil, kernel.At(err, where)
	}
	out, err := v.call(ctx, abi.PortCall, call.Node, call.Caller, operationMessage(ctx, call), call.Body)
	if err != nil {
		return nil, err
	}
	if out.Verdict == abi.Error {
		return nil, v.portFailure(call, out)
	}
	value, err := v.result(abi.PortCall, out)
	if err != nil {
		return nil, kernel.At(err, where)
	}
	if err := hold(o.output, value, kernel.CodeABI, "the reply of "+call.Op); err != nil {
		return nil, kernel.At(err, where)
	}
	return &kernel.PortReply{Value: value, Body: bytes.Clone(out.Body), Labels: v.said()}, nil
}

// operationMessage is abi.OperationMessage as a Value.
func operationMessage(ctx context.Context, call *kernel.PortCall) map[string]any {
	args := call.Args
	if args == nil {
		args = map[string]any{}
	}
	message := map[string]any{"run": runMessage(ctx).Value, "op": call.Op, "chain": chain(call.Caller), "args": args}
	if call.Node != "" {
		message["node"] = call.Node
	}
	return message
}

// portFailure is the error of an operation that the guest could not do.
func (m *version) portFailure(call *kernel.PortCall, out *sandbox.Outcome) error {
	code := ""
	if object, ok := out.Output.(map[string]any); ok {
		code, _ = object["code"].(string)
	}
	e := &kernel.Error{Code: portCode(code), What: "module " + kernel.Quote(m.Name()) + " failed in " + call.Op, Why: reason(out), Where: kernel.Where{Module: m.ID(), Node: call.Node}}
	if e.Code == kernel.CodeFailed && code != "" && code != abi.Failed.String() {
		e.Why += " [" + kernel.Quote(code) + "]"
	}
	return e
}

// portCode is the code of the error that a guest names: by its status, or by one of the
// codes that the ABI lists for it, so that what the guest was answered itself can be
// passed on. Denied is none of them: what the guest may not do is no decision about its caller.
func portCode(code string) kernel.Code {
	switch code {
	case abi.NotFound.String(), string(kernel.CodeNotFound):
		return kernel.CodeNotFound
	case abi.Invalid.String(), string(kernel.CodeArguments):
		return kernel.CodeArguments
	case abi.Limit.String():
		return kernel.CodeLimit
	case abi.Unsupported.String(), string(kernel.CodeUnsupported):
		return kernel.CodeUnsupported
	case abi.Unavailable.String(), string(kernel.CodeUnavailable):
		return kernel.CodeUnavailable
	case abi.Timeout.String():
		return kernel.CodeTimeout
	case abi.Retry.String():
		return kernel.CodeRetry
	}
	return kernel.CodeFailed
}
