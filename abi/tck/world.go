package tck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/hexdag/hexdag/abi"
)

// world answers a guest as a vector says, and notes what it did.
type world struct {
	vector *Vector
	module Module
	log    []string
	calls  []MadeCall
}

func (v *Vector) call(w World) Call {
	return Call{Point: v.Point, Input: v.Input, Config: v.Config, Body: []byte(v.Body), World: w}
}

func (w *world) Call(ctx context.Context, op string, args json.RawMessage, body []byte) Reply {
	w.calls = append(w.calls, MadeCall{Op: op, Args: bytes.Clone(args), Body: Bytes(bytes.Clone(body))})
	port, granted := w.vector.Ports[op]
	if !granted {
		return Reply{Status: abi.Denied, Code: "denied", Message: op + " is not granted"}
	}
	if port.Reenter != nil {
		return w.reenter(ctx, port.Reenter)
	}
	status, _ := statusNamed(port.Status) // checked when the vector was read
	reply := Reply{Status: status, Value: port.Value, Body: []byte(port.Body), Code: port.Code, Message: port.Message, RetryMilliseconds: port.RetryMilliseconds}
	if status == abi.OK && reply.Value == nil {
		reply.Value = json.RawMessage("{}")
	}
	return reply
}

// reenter calls the same module while its call is under way. The reply says how
// that ended.
func (w *world) reenter(ctx context.Context, inner *Vector) Reply {
	within := &world{vector: inner, module: w.module}
	got, err := w.module.Call(ctx, inner.call(within))
	if err != nil {
		return Reply{Status: abi.Failed, Code: "reenter", Message: err.Error()}
	}
	value := map[string]any{"verdict": got.Verdict.String(), "log": within.log}
	if got.Output != nil {
		value["output"] = got.Output
	}
	text, err := json.Marshal(value)
	if err != nil {
		return Reply{Status: abi.Failed, Code: "reenter", Message: err.Error()}
	}
	return Reply{Value: text}
}

func (w *world) Log(level abi.Level, line string) {
	names := [...]string{"debug", "info", "warn", "error"}
	w.log = append(w.log, names[min(level, abi.LevelError)]+" "+line)
}

func (w *world) Clock(id abi.ClockID) (int64, abi.Status) {
	if int(id) >= len(w.vector.Clock) {
		return 0, abi.Denied
	}
	return w.vector.Clock[id], abi.OK
}

func (w *world) Random(p []byte) abi.Status {
	if w.vector.Random == "" {
		return abi.Denied
	}
	for i := range p {
		p[i] = w.vector.Random[i%len(w.vector.Random)]
	}
	return abi.OK
}

func statusNamed(name string) (abi.Status, error) {
	if name == "" {
		return abi.OK, nil
	}
	for s := abi.OK; s >= abi.Retry; s-- {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("there is no status %q", name)
}
