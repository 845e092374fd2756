package host

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
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

// Fire runs what a schedule says.
func (h *Host) Fire(ctx context.Context, f *scheduler.Firing) (string, error) {
	return h.runScheduled(ctx, f)
}
