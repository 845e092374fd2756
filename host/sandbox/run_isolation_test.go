package sandbox_test

import (
	"context"
	"sync"
	"testing"
	"time"

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

// Guests of one run that call each other's modules would wait for each other: whoever would
// close the circle gets another instance, and whoever need not waits for the run's.
func TestRunInstancesDoNotWaitInCircles(t *testing.T) {
	r := newRuntime(t)
	limits := sandbox.Limits{Deadline: 20 * time.Second}
	one, two := load(t, r, probe.Wasm, limits), load(t, r, probe.Wasm, limits)
	nested := func(m *sandbox.Module, s *probe.Script, h sandbox.Host) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: sandbox.IsolateRun, Run: "a", Host: h})
			return err
		}
	}
	calling := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0)
	var both sync.WaitGroup
	both.Add(2)
	meet := func(inner func(context.Context) error) sandbox.Host {
		return &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
			both.Done()
			both.Wait() // both have their turns
			return &kernel.PortReply{}, inner(ctx)
		}}
	}
	idle := new(probe.Script).Do(probe.GetGlobal)
	start := time.Now()
	var calls sync.WaitGroup
	for _, outer := range []func(context.Context) error{
		nested(one, calling, meet(nested(two, idle, nil))),
		nested(two, calling, meet(nested(one, idle, nil))),
	} {
		calls.Go(func() {
			if err := outer(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("they waited for each other: %s", took)
	}
}

// A call on behalf of a guest that waits for nobody in a circle has the run's instance.
func TestGuestsWaitForTheirTurn(t *testing.T) {
	r := newRuntime(t)
	outer, shared := load(t, r, probe.Wasm, sandbox.Limits{}), load(t, r, probe.Wasm, sandbox.Limits{})
	call := func(ctx context.Context, m *sandbox.Module, s *probe.Script, h sandbox.Host) int64 {
		out, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Isolation: sandbox.IsolateRun, Run: "a", Host: h})
		if err != nil {
			t.Error(err)
			return -1
		}
		results, _, err := s.Results(out.Body)
		if err != nil {
			t.Error(err)
			return -1
		}
		return results[len(results)-1]
	}
	holding, asked := make(chan struct{}), make(chan struct{})
	holder := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
		close(holding)
		<-asked
		time.Sleep(20 * time.Millisecond) // so that the other waits; where it does not, the test asserts less
		return &kernel.PortReply{}, nil
	}}
	var calls sync.WaitGroup
	calls.Go(func() {
		call(t.Context(), shared, new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.SetGlobal, 7), holder)
	})
	<-holding
	var found int64
	call(t.Context(), outer, new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0), &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
		close(asked)
		found = call(ctx, shared, new(probe.Script).Do(probe.GetGlobal), nil)
		return &kernel.PortReply{}, nil
	}})
	calls.Wait()
	if found != 7 {
		t.Errorf("the run's instance was left with 7, and the guest's guest found %d", found)
	}
}

// A port that leads back to its caller's module does not wait for its caller's place.
func TestGuestsDoNotWaitForTheirCallersPlace(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Instances: 1, Waiting: 1, Deadline: 20 * time.Second})
	for _, isolation := range []sandbox.Isolation{sandbox.IsolateCall, sandbox.IsolateRun, sandbox.Shared} {
		start := time.Now()
		h := &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
			_, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: input(), Isolation: isolation, Run: "a"})
			return &kernel.PortReply{}, err
		}}
		s := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0)
		out, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Host: h, Isolation: isolation, Run: "a"})
		if err != nil {
			t.Fatal(isolation, err)
		}
		if results, _, err := s.Results(out.Body); err != nil || results[0] != int64(abi.OK) {
			t.Errorf("%s: the inner call: %v %v after %s", isolation, results, err, time.Since(start))
		}
	}
}
