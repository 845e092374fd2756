package pipeline

import (
	"math"
	"time"

	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// TenantLimits bounds what the runs of one tenant take together. Zero fields mean
// the defaults of the sandbox, and no limit of Fuel.
type TenantLimits struct {
	sandbox.TenantLimits
	Fuel int64 // since the host was opened
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
func (c *Config) readLimits(spec *section) {
	if l := spec.member("tenant_limits"); l != nil {
		c.TenantLimits = TenantLimits{TenantLimits: sandbox.TenantLimits{Instances: l.amount("instances"), Waiting: l.amount("waiting")}, Fuel: int64(l.amount("fuel"))}
		l.rest()
	}
	if l := spec.member("run_limits"); l != nil {
		c.RunLimits = RunLimits{
			Deadline: l.seconds("deadline"), Fuel: int64(l.amount("fuel")), HostCalls: int64(l.amount("host_calls")),
			LogLines: int64(l.amount("log_lines")), BytesIn: int64(l.amount("bytes_in")), BytesOut: int64(l.amount("bytes_out")),
		}
		l.rest()
	}
	c.Static = readStatic(spec)
}

// readStatic reads the limits to which modules' bytes are held, for all modules
// or for one.
func readStatic(s *section) (o rewrite.Options) {
	l := s.member("static_limits")
	if l == nil {
		return o
	}
	for _, setting := range o.Settings() {
		*setting.Value = l.amount(setting.Name)
	}
	l.rest()
	return o
}

func readCallLimits(s *section) (limits sandbox.Limits) {
	l := s.member("limits")
	if l == nil {
		return limits
	}
	limits = sandbox.Limits{
		Deadline: l.seconds("deadline"), Fuel: int64(l.amount("fuel")), Memory: uint64(l.amount("memory")), Document: l.amount("document"), Body: l.amount("body"),
		HostCalls: l.amount("host_calls"), BytesIn: int64(l.amount("bytes_in")), BytesOut: int64(l.amount("bytes_out")),
		LogLines: l.amount("log_lines"), LogLine: l.amount("log_line"), Instances: l.amount("instances"), Waiting: l.amount("waiting"),
	}
	l.rest()
	return limits
}

// amount reads a whole number above zero; zero where it is absent.
func (s *section) amount(name string) int {
	n := s.positive(name)
	if n != 0 && (n < 1 || n > math.MaxInt64/2 || n != math.Trunc(n)) {
		s.add(s.get(name).errorf(s.code, "give a whole number above zero", "%s is no amount", name))
		return 0
	}
	return int(n)
}
