package host

import (
	"path/filepath"

	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports/governance/approvals"
)

// Approvals is what persons are asked to approve, and what they said.
type Approvals = approvals.Store

// Approval is a call that a person is asked about.
type Approval = approvals.Approval

// ApprovalState is what has become of an approval.
type ApprovalState = approvals.State

// ApprovalPending is the state of an approval that nobody has given or refused yet.
const ApprovalPending = approvals.Pending

// OpenApprovals opens the approvals of a configuration's host, whether or not it runs.
// The caller closes them.
func OpenApprovals(cfg *Config) *Approvals { return approvals.New(approvalsFile(stateOf(cfg))) }

// Approvals returns the host's, which it closes.
func (h *Host) Approvals() *Approvals { return h.approvals }

func approvalsFile(state string) string { return filepath.Join(state, "approvals.db") }

// ServerSpec is what a configuration says of 'hexdag serve'.
type ServerSpec = pipeline.ServerSpec

// StateOf is the folder that a configuration's host keeps its state in.
func StateOf(cfg *Config) string { return stateOf(cfg) }

// stateOf is the folder that a configuration's host keeps its state in.
func stateOf(cfg *Config) string {
	if cfg.State != "" {
		return cfg.State
	}
	return filepath.Join(filepath.Dir(cfg.File), ".hexdag")
}
