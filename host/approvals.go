package host

import (
	"context"
	"path/filepath"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/approvals"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/driver"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/pgapprovals"
	"github.com/hexdag/hexdag/host/ports/governance/approvals/sqliteapprovals"
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
func OpenApprovals(ctx context.Context, cfg *Config) (*Approvals, error) {
	h := &Host{config: cfg, state: stateOf(cfg)}
	return h.openApprovals(ctx)
}

// openApprovals opens those that the configuration names. The caller closes them.
func (h *Host) openApprovals(ctx context.Context) (*approvals.Store, error) {
	spec := h.config.Approvals
	config, err := (opening{host: h, ctx: ctx, closers: &h.closers, file: h.config.File}).secrets(spec.Config)
	if err != nil {
		return nil, place(err, spec.Where)
	}
	var records driver.Records
	switch spec.Adapter {
	case "", "sqlite":
		var c struct {
			Path string `json:"path"`
		}
		if err := take("the approvals", config, &c, "for the adapter sqlite it takes path"); err != nil {
			return nil, place(err, spec.Where)
		}
		path := filepath.Join(stateOf(h.config), "approvals.db") // a worker's state is its own, and the approvals are not
		if c.Path != "" {
			path = h.besideConfig(c.Path)
		}
		records = sqliteapprovals.New(path)
	case "postgres":
		var c pgapprovals.Config
		if err := take("the approvals", config, &c, "for the adapter postgres it takes url and table"); err != nil {
			return nil, place(err, spec.Where)
		}
		records, err = pgapprovals.Open(ctx, c)
	default: // of a configuration that no file says
		err = &kernel.Error{Code: kernel.CodeConfig, What: "the approvals have no adapter " + kernel.Quote(spec.Adapter), Fix: "known are postgres, sqlite"}
	}
	if err != nil {
		return nil, place(err, spec.Where)
	}
	return approvals.New(records, h.tenant()), nil
}

// Approvals returns the host's, which it closes.
func (h *Host) Approvals() *Approvals { return h.approvals }

// StateOf is the folder that a configuration's host keeps its state in.
func StateOf(cfg *Config) string { return stateOf(cfg) }

// stateOf is the folder that a configuration's host keeps its state in.
func stateOf(cfg *Config) string {
	if cfg.State != "" {
		return cfg.State
	}
	return filepath.Join(filepath.Dir(cfg.File), ".hexdag")
}
