package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// openRecorded has the host know the operations of all ports, and none that reaches anything: what a recorded run calls is
// answered from its recording.
func (h *Host) openRecorded() error {
	ops := memoryOps()
	for i := range ops {
		port := ops[i].Port()
		if spec, named := h.config.Ports[port]; named {
			labelled(ops[i:i+1], port, &spec)
		}
	}
	h.door.ForRecorded()
	return errors.Join(h.door.Register(ops...), h.door.Register(h.governing.port.Ops()...))
}

// unkept keeps no answers: whether a node worked is the recording's to say.
type unkept struct{}

func (unkept) Answer(ctx context.Context, _ *engine.Question, work func(context.Context) (*engine.Answer, error)) (*engine.Answer, *kernel.Cached, error) {
	a, err := work(ctx)
	return a, nil, err
}
