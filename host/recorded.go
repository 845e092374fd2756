package host

import (
	"context"
	"errors"
	"slices"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/databasetools"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/processregistry"
	"github.com/hexdag/hexdag/host/lib/scheduler"
	"github.com/hexdag/hexdag/host/ports"
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
	libraries := libraryOps(h)
	for i := range libraries { // agents are told of them, and what they judge of a call they judge again
		libraries[i].Func = unrecorded
	}
	ops = append(ops, libraries...)
	h.door.ForRecorded()
	return errors.Join(h.door.Register(ops...), h.door.Register(h.governing.port.Ops()...))
}

// libraryOps are the operations of all libraries that keep what outlives a run, as they are told of.
func libraryOps(h *Host) []ports.Op {
	return slices.Concat(processregistry.New(processregistry.Options{}).Ops(), pipelinespawner.New(nil, nil, h.spawning()).Ops(), scheduler.New(scheduler.Options{}).Ops(nil), agentOps(h.newCentralAgents()), databasetools.Told())
}

// unrecorded is what an operation of a library does in a run that is done again.
func unrecorded(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	return nil, &kernel.Error{Code: kernel.CodeUnrecorded, What: call.Op + " was not called", Why: "the run is done again without the world"}
}

// unkept keeps no answers: whether a node worked is the recording's to say.
type unkept struct{}

func (unkept) Answer(ctx context.Context, _ *engine.Question, work func(context.Context) (*engine.Answer, error)) (*engine.Answer, *kernel.Cached, error) {
	a, err := work(ctx)
	return a, nil, err
}
