package enforcement_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/enforcement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEnforcement(t *testing.T) {
	suites, err := enforcement.Suites()
	if err != nil {
		t.Fatal(err)
	}
	for _, set := range enforcement.Sets() {
		var sum enforcement.Tally
		for _, s := range suites {
			out, err := enforcement.Run(t.Context(), set, s, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			sum.Add(out.Tally)
			t.Logf("%s %s %+v missed %v", set.Name, s.Name, out.Tally, out.Missed)
		}
		t.Logf("%s %+v", set.Name, sum)
	}
}
