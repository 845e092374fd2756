// Package conform runs the conformance kit of the ABI (abi/tck) on this host's
// sandbox.
package conform

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Host is a sandbox as the kit sees it.
type Host struct {
	Runtime *sandbox.Runtime
	Limits  sandbox.Limits // of each call; zero fields mean the sandbox's
}

var _ tck.Host = Host{}

// Load loads a module. The caller of the kit closes the runtime.
func (h Host) Load(ctx context.Context, wasm []byte) (tck.Module, error) {
	limits := h.Limits
	if limits.Deadline == 0 {
		limits.Deadline = deadline
	}
	m, err := h.Runtime.Load(ctx, wasm, sandbox.LoadOptions{Limits: limits})
	if err != nil {
		return nil, err
	}
	return module{m}, nil
}

// deadline leaves a slow guest on a busy machine its time: the kit is not about speed.
const deadline = 10 * time.Second

type module struct{ *sandbox.Module }

func (m module) Call(ctx context.Context, call tck.Call) (tck.Result, error) {
	input, err := kernel.DecodeJSON(call.Input)
	if err != nil {
		return tck.Result{}, err
	}
	c := sandbox.Call{Point: call.Point, Input: input, Body: call.Body, Host: world{call.World}}
	if call.Config != nil {
		if c.Config, err = kernel.DecodeJSON(call.Config); err != nil {
			return tck.Result{}, err
		}
	}
	out, err := m.Module.Call(ctx, c)
	if err != nil {
		return tck.Result{}, err
	}
	got := tck.Result{Verdict: out.Verdict, Arg: out.Arg, Body: bytes.Clone(out.Body)}
	if out.Verdict == abi.Replace {
		if got.Patched, err = kernel.EncodeJSON(out.Patched); err != nil {
			return tck.Result{}, err
		}
	}
	if out.HasOut {
		got.Output, err = kernel.EncodeJSON(out.Output)
	}
	return got, err
}

// world is what the kit answers, as a host of the sandbox.
type world struct{ w tck.World }

func (h world) Call(ctx context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
	text, err := kernel.EncodeJSON(args)
	if err != nil {
		return nil, err
	}
	// The codes of the vectors are those from which the sandbox makes their statuses.
	reply := h.w.Call(ctx, op, json.RawMessage(text), body)
	if reply.Status != abi.OK {
		return nil, &kernel.Error{Code: kernel.Code(reply.Code), What: reply.Message, RetryAfter: time.Duration(reply.RetryMilliseconds) * time.Millisecond}
	}
	value, err := kernel.DecodeJSON(reply.Value)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: value, Body: reply.Body}, nil
}

func (h world) Log(level abi.Level, line string) { h.w.Log(level, line) }

func (h world) Clock(_ context.Context, id abi.ClockID) (int64, error) {
	ns, status := h.w.Clock(id)
	return ns, errorOf(status)
}

func (h world) Random(_ context.Context, p []byte) error { return errorOf(h.w.Random(p)) }

// errorOf is the error from which the sandbox makes a status.
func errorOf(status abi.Status) error {
	if status == abi.OK {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeDenied, What: status.String()}
}
