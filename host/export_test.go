package host

import (
	"context"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/entitystate"
	"github.com/hexdag/hexdag/host/lib/pipelinememory"
	"github.com/hexdag/hexdag/host/lib/pipelinespawner"
	"github.com/hexdag/hexdag/host/lib/scheduler"
)

// NewRun is a run as one that begins.
func (h *Host) NewRun(pipeline string, opts RunOptions) *kernel.RunContext {
	run := h.newRun(pipeline, opts)
	run.Runs = h.spawning().Budget()
	return run
}

// Spawner starts runs for runs.
func (h *Host) Spawner() *pipelinespawner.Spawner { return h.libraries.spawner }

// LibraryOutputs are the schemas of what methods of libraries answer, by their names.
func (h *Host) LibraryOutputs() map[string]map[string]any {
	states, err := entitystate.New(h.memory, nil, entitystate.Options{})
	if err != nil {
		panic(err)
	}
	outputs := map[string]map[string]any{}
	for _, op := range slices.Concat(libraryOps(h), pipelinememory.Ops(), entityOps(states)) {
		outputs[op.Name] = op.Output
	}
	return outputs
}

// Operations are the names of all that there are.
func (h *Host) Operations() []string { return h.door.Ops() }

// Fire runs what a schedule says.
func (h *Host) Fire(ctx context.Context, f *scheduler.Firing) (string, error) {
	return h.runScheduled(ctx, f)
}
