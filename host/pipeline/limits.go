package pipeline

import (
	"time"

	"github.com/hexdag/hexdag/host/pipeline/source"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// TenantLimits bounds what the runs of one tenant take together. Zero fields mean
// the defaults of the sandbox, and no limit of Fuel.
type TenantLimits struct {
	sandbox.TenantLimits
	Fuel int64 // since the host was opened; so are the others
	// Tokens and CostUSD are what models take of the tenant, nil without a limit.
	Tokens, CostUSD *float64
}

// RunLimits bounds what the modules of one run take together. Zero fields mean no
// limit beside those of each call.
type RunLimits struct {
	Deadline  time.Duration // of the run
	Fuel      int64
	HostCalls int64
	LogLines  int64
	BytesIn   int64 // what the host gives to modules
	BytesOut  int64 // what they give the host
}

// readLimits reads what the operator says of limits beside those of a module.
func (c *Config) readLimits(spec *source.Section) {
	if l := spec.Member("tenant_limits"); l != nil {
		c.TenantLimits = TenantLimits{TenantLimits: sandbox.TenantLimits{Instances: l.Amount("instances"), Waiting: l.Amount("waiting")}, Fuel: int64(l.Amount("fuel")), Tokens: l.Bound("tokens"), CostUSD: l.Bound("cost_usd")}
		l.Rest()
	}
	if l := spec.Member("run_limits"); l != nil {
		c.RunLimits = RunLimits{
			Deadline: l.Seconds("deadline"), Fuel: int64(l.Amount("fuel")), HostCalls: int64(l.Amount("host_calls")),
			LogLines: int64(l.Amount("log_lines")), BytesIn: int64(l.Amount("bytes_in")), BytesOut: int64(l.Amount("bytes_out")),
		}
		l.Rest()
	}
	c.Static = readStatic(spec)
}

// readStatic reads the limits to which modules' bytes are held, for all modules
// or for one.
func readStatic(s *source.Section) (o rewrite.Options) {
	l := s.Member("static_limits")
	if l == nil {
		return o
	}
	for _, setting := range o.Settings() {
		*setting.Value = l.Amount(setting.Name)
	}
	l.Rest()
	return o
}

func readCallLimits(s *source.Section) (limits sandbox.Limits) {
	l := s.Member("limits")
	if l == nil {
		return limits
	}
	limits = sandbox.Limits{
		Deadline: l.Seconds("deadline"), Fuel: int64(l.Amount("fuel")), Memory: uint64(l.Amount("memory")), Document: l.Amount("document"), Body: l.Amount("body"),
		HostCalls: l.Amount("host_calls"), BytesIn: int64(l.Amount("bytes_in")), BytesOut: int64(l.Amount("bytes_out")),
		LogLines: l.Amount("log_lines"), LogLine: l.Amount("log_line"), Instances: l.Amount("instances"), Waiting: l.Amount("waiting"),
	}
	l.Rest()
	return limits
}
