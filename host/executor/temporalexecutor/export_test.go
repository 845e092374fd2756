package temporalexecutor

import "go.temporal.io/sdk/worker"

// NewReplayer returns what replays histories of runs.
func NewReplayer() worker.WorkflowReplayer {
	r := worker.NewWorkflowReplayer()
	registerWorkflow(r)
	return r
}
