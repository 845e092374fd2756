package extension

import (
	"sync"
	"time"

	"github.com/hexdag/hexdag/host/sandbox"
)

// Stats is what a module has used since it was loaded.
type Stats struct {
	Calls     int64         `json:"calls"`
	Failures  int64         `json:"failures"`
	HostCalls int64         `json:"host_calls"`
	Fuel      int64         `json:"fuel"`
	Wall      time.Duration `json:"wall_ns"`
	Memory    uint64        `json:"peak_memory_bytes"`
}

type stats struct {
	mu  sync.Mutex
	sum Stats
}

func (s *stats) add(out *sandbox.Outcome, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum.Calls++
	if err != nil {
		s.sum.Failures++
	}
	s.sum.HostCalls += int64(out.Usage.HostCalls)
	s.sum.Fuel += out.Usage.Fuel
	s.sum.Wall += out.Usage.Wall
	s.sum.Memory = max(s.sum.Memory, out.Usage.Memory)
}

// Stats returns what the module has used so far.
func (m *Module) Stats() Stats {
	m.stats.mu.Lock()
	defer m.stats.mu.Unlock()
	return m.stats.sum
}
