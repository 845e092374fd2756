package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// What the operator says of a run and a tenant holds, whatever each call may.
func TestLimitsOfRunsAndTenants(t *testing.T) {
	for name, test := range map[string]struct {
		spec  string
		node  string
		runs  int // the last of which fails
		code  kernel.Code
		words []string
	}{
		"fuel of the run":    {"  run_limits: {fuel: 500}\n", pull("good"), 1, kernel.CodeLimit, []string{"ran out of fuel", "budget of its run or tenant is used up"}},
		"bytes of the run":   {"  run_limits: {bytes_in: 5}\n", pull("good"), 1, kernel.CodeLimit, []string{"took more bytes", "run_limits.bytes_in"}},
		"fuel of the tenant": {"  tenant_limits: {fuel: 15000}\n", pull("good"), 50, kernel.CodeLimit, []string{"ran out of fuel", "budget of its run or tenant is used up"}},
		"time of the run":    {"  run_limits: {deadline: 100ms}\n", pull("stuck"), 1, kernel.CodeTimeout, []string{"run_limits.deadline is 100ms"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.spec+puppets)
			p := s.load(t, s.open(t), test.node)
			var err error
			runs := 0
			for ; err == nil && runs < test.runs; runs++ {
				err = p.Run(t.Context(), map[string]any{}, host.RunOptions{}).Err
			}
			if kernel.CodeOf(err) != test.code || test.runs > 1 && runs < 2 {
				t.Fatalf("run %d: code %q, want %q (%v)", runs, kernel.CodeOf(err), test.code, err)
			}
			for _, word := range test.words {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in %v", word, err)
				}
			}
		})
	}
}
