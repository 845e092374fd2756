package journal

import (
	"context"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// NodeHook returns a hook in Go whose verdicts are taken down, and known again.
func NodeHook(name string, h kernel.NodeHook) kernel.NodeHook { return nodeHook{name, h} }

type nodeHook struct {
	name string
	kernel.NodeHook
}

func (h nodeHook) BeforeNode(ctx context.Context, call *kernel.NodeCall) (kernel.Verdict, error) {
	return judged(ctx, h.name+".before", func() (kernel.Verdict, error) { return h.NodeHook.BeforeNode(ctx, call) })
}

func (h nodeHook) AfterNode(ctx context.Context, call *kernel.NodeCall, output kernel.Value, err error) (kernel.Verdict, error) {
	return judged(ctx, h.name+".after", func() (kernel.Verdict, error) { return h.NodeHook.AfterNode(ctx, call, output, err) })
}

// PortHook returns a hook in Go whose verdicts are taken down, and known again.
func PortHook(name string, h kernel.PortHook) kernel.PortHook { return portHook{name, h} }

type portHook struct {
	name string
	kernel.PortHook
}

func (h portHook) BeforePort(ctx context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	return judged(ctx, h.name+".before", func() (kernel.Verdict, error) { return h.PortHook.BeforePort(ctx, call) })
}

func (h portHook) AfterPort(ctx context.Context, call *kernel.PortCall, reply *kernel.PortReply, err error) (kernel.Verdict, error) {
	return judged(ctx, h.name+".after", func() (kernel.Verdict, error) { return h.PortHook.AfterPort(ctx, call, reply, err) })
}

// Function returns a body in Go whose answers are taken down, and known again.
func Function(name string, do func(context.Context, *kernel.NodeCall) (kernel.Value, error)) func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
	return func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
		lane := LaneFrom(ctx)
		if lane == nil {
			return do(ctx, call)
		}
		return lane.Local(ctx, "fn "+name, func() (kernel.Value, error) { return do(ctx, call) })
	}
}

// judged has a hook decide.
func judged(ctx context.Context, name string, decide func() (kernel.Verdict, error)) (kernel.Verdict, error) {
	lane := LaneFrom(ctx)
	if lane == nil {
		return decide()
	}
	v, err := lane.Local(ctx, "hook "+name, func() (kernel.Value, error) {
		v, err := decide()
		if err != nil {
			return nil, err
		}
		return verdictValue(v), nil
	})
	if err != nil {
		return kernel.Verdict{}, err
	}
	return verdictOf(v)
}

// verdictValue is a verdict as an entry has it: {action, value?, body? (base64), reason?, delay_ns?}.
func verdictValue(v kernel.Verdict) kernel.Value {
	fields := map[string]any{"action": kernel.Number(int64(v.Action))}
	if v.Value != nil {
		fields["value"] = v.Value
	}
	if v.Body != nil {
		fields["body"] = base64.StdEncoding.EncodeToString(v.Body)
	}
	if v.Reason != "" {
		fields["reason"] = v.Reason
	}
	if v.Delay > 0 {
		fields["delay_ns"] = kernel.Number(v.Delay.Nanoseconds())
	}
	return fields
}

func verdictOf(v kernel.Value) (kernel.Verdict, error) {
	var fields struct {
		Action kernel.Action `json:"action"`
		Value  kernel.Value  `json:"value"`
		Body   []byte        `json:"body"`
		Reason string        `json:"reason"`
		Delay  time.Duration `json:"delay_ns"`
	}
	if err := kernel.FromValue(v, &fields); err != nil {
		return kernel.Verdict{}, &kernel.Error{Code: kernel.CodeDiverged, What: "what a hook decided cannot be read", Why: fmt.Sprint(err), Err: err}
	}
	return kernel.Verdict{Action: fields.Action, Value: fields.Value, Body: fields.Body, Reason: fields.Reason, Delay: fields.Delay}, nil
}

// Local has Go code of the embedding program do something, or answers what it did before, which is not done again.
func (l *Lane) Local(ctx context.Context, name string, do func() (kernel.Value, error)) (kernel.Value, error) {
	if l.silent() {
		return do()
	}
	flow := kernel.FlowFrom(ctx)
	e, begun, err := l.local(name)
	switch {
	case err != nil:
		return nil, err
	case e != nil:
		flow.Join(e.Labels)
		return e.Value, recalled(e)
	}
	if l.Again() {
		l.tape.differ(Difference{Lane: l.path, What: "Go code that is not there now; it was not run", Is: name, Unrecorded: true})
		return nil, &kernel.Error{Code: kernel.CodeUnrecorded, What: kernel.Quote(name) + " was not run", Why: "the recording of the run does not hold what it answers", Fix: "run the pipeline anew to see what comes of it"}
	}
	if !begun {
		l.write(Entry{Kind: Enter, Op: name})
	}
	v, err := kernel.Guarded(do)
	l.write(Entry{Kind: Local, Op: name, Value: v, Labels: flow.Labels(), Failed: failure(err)})
	return v, err
}

// local goes past what Go code did then, if it is known to its end. begun says that it is known to have begun.
func (l *Lane) local(name string) (end *Entry, begun bool, err error) {
	if l.tape.mode == Rehearsing {
		if end = l.search(Local, func(was *Entry) (string, bool) { return "", was.Op == name }); end != nil {
			l.write(*end)
		}
		return end, false, nil
	}
	begin, err := l.expect(Enter, kernel.Quote(name), func(was *Entry) (string, bool) { return kernel.Quote(name), was.Op == name })
	if begin == nil {
		return nil, false, err
	}
	if l.Again() {
		l.write(*begin)
	}
	depth := 1
	for i := l.next; i < len(l.known); i++ {
		switch e := l.known[i]; {
		case e.Kind == Enter && e.Op != "":
			depth++
		case e.Kind == Local:
			if depth--; depth == 0 {
				l.pass(i + 1)
				return e, true, nil
			}
		}
	}
	return nil, true, nil
}
