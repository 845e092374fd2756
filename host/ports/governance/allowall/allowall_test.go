package allowall_test

import (
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
)

func TestConformance(t *testing.T) {
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: allowall.Driver{}, Allowed: &kernel.AccessRequest{Action: kernel.Act{Name: "llm.complete"}}}
	})
}
