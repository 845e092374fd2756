package sandbox_test

import (
	"context"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// A run's calls share an instance that nobody else sees, and that ends with the run.
func TestIsolationOfRuns(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	call := func(isolation sandbox.Isolation, run string, s *probe.Script) {
		t.Helper()
		if _, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: isolation, Run: run}); err != nil {
			t.Fatal(err)
		}
	}
	left := func(isolation sandbox.Isolation, run string) int64 {
		t.Helper()
		s := new(probe.Script).Do(probe.GetGlobal)
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: isolation, Run: run})
		if err != nil {
			t.Fatal(err)
		}
		results, _, err := s.Results(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return results[0]
	}
	const clean, mark = 1, 0xC7
	call(sandbox.IsolateRun, "a", new(probe.Script).Do(probe.SetGlobal, mark))
	for _, tc := range []struct {
		isolation sandbox.Isolation
		run       string
		want      int64
	}{
		{sandbox.IsolateRun, "a", mark},
		{sandbox.IsolateRun, "b", clean},
		{sandbox.IsolateCall, "a", clean},
		{sandbox.Shared, "", clean},
		{sandbox.IsolateRun, "a", mark},
	} {
		if got := left(tc.isolation, tc.run); got != tc.want {
			t.Errorf("%s %q finds %d, want %d", tc.isolation, tc.run, got, tc.want)
		}
	}
	m.EndRun(context.Background(), "a")
	if got := left(sandbox.IsolateRun, "a"); got != clean {
		t.Errorf("a run that has ended left %d", got)
	}
	m.EndRun(context.Background(), "a")
	m.EndRun(context.Background(), "b")
	m.EndRun(context.Background(), "never")
}

// A call that leads back to its module has another instance, and not the run's, for
// which it would wait for ever.
func TestRunInstanceIsNotEnteredTwice(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	ask := func(ctx context.Context, s *probe.Script, h *fakeHost) []int64 {
		out, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: sandbox.IsolateRun, Run: "a", Host: h})
		if err != nil {
			t.Fatal(err)
		}
		results, _, err := s.Results(out.Body)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
	var inner int64
	h := &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
		inner = ask(ctx, new(probe.Script).Do(probe.GetGlobal), nil)[0]
		return &kernel.PortReply{}, nil
	}}
	outer := ask(context.Background(), new(probe.Script).Do(probe.SetGlobal, 7).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.GetGlobal), h)
	if inner != 1 || outer[1] != 0 || outer[2] != 7 {
		t.Errorf("inside %d, outside %v", inner, outer)
	}
	m.EndRun(context.Background(), "a")
}
