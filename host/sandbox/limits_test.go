package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// overshoot is how much later than its deadline a call may end on a busy machine.
const overshoot = time.Second

// call runs port_before of a module and returns how long it took.
func call(t *testing.T, m *sandbox.Module, c sandbox.Call) (*sandbox.Outcome, time.Duration, error) {
	t.Helper()
	if c.Point == "" {
		c.Point = abi.PortBefore
	}
	if c.Input == nil {
		c.Input = input()
	}
	start := time.Now()
	out, err := m.Call(context.Background(), c)
	return out, time.Since(start), err
}

func TestDeadline(t *testing.T) {
	r := newRuntime(t)
	for _, name := range []string{"spin", "spin-calls", "spin-start", "spin-init", "flood", "bulk", "wide-output"} {
		t.Run(name, func(t *testing.T) {
			const deadline = 50 * time.Millisecond
			m := load(t, r, hostile(t, name), sandbox.Limits{Deadline: deadline, Memory: 128 << 20, BytesOut: 1 << 60})
			out, took, err := call(t, m, sandbox.Call{})
			wantCode(t, err, kernel.CodeTimeout)
			limit := deadline + overshoot
			if name == "bulk" { // one instruction over 64 MiB, which is not interrupted
				limit += 2 * time.Second
			}
			if took > limit {
				t.Errorf("took %s, the deadline is %s", took, deadline)
			}
			if out == nil || out.Usage.Wall < deadline {
				t.Errorf("the usage does not tell the %s that it took: %+v", took, out)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Deadline: time.Minute})
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	start := time.Now()
	_, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Body: new(probe.Script).Do(probe.Spin).Image()})
	wantCode(t, err, kernel.CodeCanceled)
	if took := time.Since(start); took > overshoot {
		t.Errorf("took %s", took)
	}
}

// The deadline of the call cancels the context of what the host does for it.
func TestDeadlineInsideOfAHostCall(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Deadline: 50 * time.Millisecond})
	h := &fakeHost{call: func(ctx context.Context, _ string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
		select {
		case <-time.After(3 * time.Second):
			return &kernel.PortReply{}, nil
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}}
	s := new(probe.Script).Do(probe.Call, "slow.op", 0, 0, 0, 0).Do(probe.Spin)
	_, took, err := call(t, m, sandbox.Call{Body: s.Image(), Host: h})
	wantCode(t, err, kernel.CodeTimeout)
	if took > time.Second {
		t.Errorf("took %s: the host's call did not see the deadline", took)
	}
}

func TestHostCallsAreCounted(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	done := 0
	h := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
		done++
		return &kernel.PortReply{Value: "x"}, nil
	}}
	s := new(probe.Script).Repeat(1000, probe.Call, "a.b", 0, 0, 0, 0).Do(probe.Call, "a.b", 0, 0, 0, 0).
		Do(probe.Call, 0, maxU32, 0, 0, 0, 0).Do(probe.Field, reply, "/code", free, 16)
	results, out := play(t, m, s, h)
	want := []int64{0, int64(abi.Limit), int64(abi.Limit), field(abi.KindString, len("limit"))}
	if !slices.Equal(results, want) || done != 1000 {
		t.Errorf("got %d, want %d; %d were done", results, want, done)
	}
	if out.Usage.HostCalls < 1000 {
		t.Errorf("usage tells %d", out.Usage.HostCalls)
	}
}

func TestLogIsCutAndThenDropped(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{LogLines: 3, LogLine: 10})
	h := &fakeHost{}
	s := new(probe.Script).Do(probe.Log, 99, strings.Repeat("x", 11)).Repeat(2, probe.Log, 0, "a\nb").
		Repeat(5000, probe.Log, 0, "more")
	results, out := play(t, m, s, h)
	if want := []int64{0, 0, int64(abi.Limit)}; !slices.Equal(results, want) {
		t.Errorf("got %d, want %d", results, want)
	}
	if want := []string{strings.Repeat("x", 10), "a\nb", "a\nb"}; !slices.Equal(h.lines, want) {
		t.Errorf("lines %q", h.lines)
	}
	if out.Usage.LogLines != 5003 {
		t.Errorf("%d lines are counted, the dropped ones included", out.Usage.LogLines)
	}
}

func TestWritesAreBounded(t *testing.T) {
	const limit = 8 << 10
	m := loadProbe(t, sandbox.Limits{Document: limit, Body: 32 << 10})
	fits := strings.Repeat("x", limit-len("/v")-16)
	check(t, m, nil, []row{
		{"a value of the limit", probe.Set, []any{output, "/v", textKind, fits}, 0},
		{"a byte more", probe.Set, []any{output, "/v", textKind, fits + "x"}, int64(abi.Limit)},
		{"2 GB", probe.Set, []any{output, "/v", textKind, free, 1 << 31}, int64(abi.Limit)},
		{"a body of 2 GB", probe.Append, []any{request, free, 1 << 31}, int64(abi.Limit)},
		{"a head over the limit", probe.Call, []any{"a.b", strings.Repeat(" ", limit+1), 0, 0}, int64(abi.Limit)},
		{"a body over the limit", probe.Call, []any{"a.b", 0, 0, 0, 32<<10 + 1}, int64(abi.Limit)},
	})
	s := new(probe.Script).Repeat(limit/(16+2+1), probe.Set, output, "/v", jsonKind, "1").Do(probe.Set, output, "/v", jsonKind, "1").
		Repeat(8, probe.Append, request, 0, 4<<10).Do(probe.Append, request, 0, 1).Do(probe.Append, request, 0, 0)
	results, _ := play(t, m, s, nil)
	if want := []int64{int64(abi.OK), int64(abi.Limit), 0, int64(abi.Limit), 0}; !slices.Equal(results[1:], want[1:]) {
		t.Errorf("the sum of the writes: got %d, want %d", results, want)
	}
}

func TestRepliesAreBounded(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Document: 8 << 10, Body: 16 << 10})
	for name, big := range map[string]*kernel.PortReply{
		"value": {Value: strings.Repeat("x", 8<<10)},
		"body":  {Body: make([]byte, 16<<10+1)},
	} {
		h := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) { return big, nil }}
		s := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.Body, reply, 0, 0, 0).Do(probe.Field, reply, "/code", 0, 0)
		results, _ := play(t, m, s, h)
		if want := []int64{int64(abi.Limit), 0, field(abi.KindString, 5)}; !slices.Equal(results, want) {
			t.Errorf("%s: got %d, want %d: an error, never a part", name, results, want)
		}
	}
}

func TestInputIsBounded(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Document: 1 << 10})
	_, _, err := call(t, m, sandbox.Call{Input: strings.Repeat("x", 1<<10)})
	wantCode(t, err, kernel.CodeLimit)
	results, _ := play(t, m, new(probe.Script).Do(probe.Length), nil)
	if want := int64(len(encode(t, input()))); results[0] != want {
		t.Errorf("the guest is told %d bytes of input, there are %d", results[0], want)
	}
}

// Fuel is the other bound of work: the same for the same module and input.
func TestFuelIsBoundedAndDeterministic(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Fuel: 10_000_000, Deadline: time.Minute})
	_, _, err := call(t, m, sandbox.Call{Body: new(probe.Script).Do(probe.Spin).Image()})
	wantCode(t, err, kernel.CodeLimit)
	var used []int64
	for range 3 {
		_, out := play(t, m, new(probe.Script).Do(probe.Recurse, 500).Do(probe.Fill, free, 1, 1000), nil)
		used = append(used, out.Usage.Fuel)
	}
	if used[0] <= 0 || used[1] != used[0] || used[2] != used[0] {
		t.Errorf("three equal calls used %d", used)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	r := newRuntime(t)
	m := load(t, r, hostile(t, "grow"), sandbox.Limits{Memory: 4 << 20})
	out, _, err := call(t, m, sandbox.Call{})
	if err != nil {
		t.Fatal(err)
	}
	if pages := out.Arg; pages < 49 || pages > 64 { // it grows by 16 from 1
		t.Errorf("the guest got %d pages of 64", pages)
	}
	if out.Usage.Memory > 4<<20 || out.Usage.Memory < 3<<20 {
		t.Errorf("usage tells %d bytes", out.Usage.Memory)
	}
}

func TestDeepRecursionTraps(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	_, _, err := call(t, m, sandbox.Call{Body: new(probe.Script).Do(probe.Recurse, 1<<30).Image()})
	if code := kernel.CodeOf(err); code != kernel.CodeTrap && code != kernel.CodeLimit {
		t.Errorf("code %q (%v)", code, err)
	}
	results, _ := play(t, m, new(probe.Script).Do(probe.Recurse, 1000), nil)
	if results[0] != 1000 {
		t.Errorf("an honest depth answers %d", results[0])
	}
}

// A guest that ends itself gives no verdict, whatever code it says.
func TestProcExitIsNoVerdict(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	for _, code := range []uint32{0, 1, 0xefffffff, 0xffffffff} {
		_, _, err := call(t, m, sandbox.Call{Body: new(probe.Script).Do(probe.ProcExit, code).Image()})
		wantCode(t, err, kernel.CodeTrap)
		if err != nil && !strings.Contains(err.Error(), fmt.Sprintf("proc_exit(%d)", code)) {
			t.Errorf("the error does not tell the code %d: %v", code, err)
		}
	}
}

func TestVerdicts(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	legal := map[abi.Point][]abi.Verdict{
		abi.NodeBefore: {abi.Continue, abi.Replace, abi.Skip, abi.Deny, abi.RetryAfter, abi.Error},
		abi.PortBefore: {abi.Continue, abi.Replace, abi.Skip, abi.Deny, abi.RetryAfter, abi.Error},
		abi.NodeAfter:  {abi.Continue, abi.Replace, abi.Deny, abi.RetryAfter, abi.Error},
		abi.PortAfter:  {abi.Continue, abi.Replace, abi.Deny, abi.RetryAfter, abi.Error},
		abi.NodeRun:    {abi.Continue, abi.Deny, abi.RetryAfter, abi.Error},
		abi.ToolCall:   {abi.Continue, abi.Deny, abi.RetryAfter, abi.Error},
		abi.Observe:    {abi.Continue, abi.Deny, abi.RetryAfter, abi.Error},
	}
	for point, verdicts := range legal {
		for _, v := range []abi.Verdict{0, 1, 2, 3, 4, 5, 6, 100, 1 << 31, maxU32} {
			s := &probe.Script{Result: abi.Pack(v, 7)}
			out, _, err := call(t, m, sandbox.Call{Point: point, Body: s.Image()})
			if slices.Contains(verdicts, v) {
				if err != nil || out.Verdict != v || out.Arg != 7 {
					t.Errorf("%s, %s: %+v, %v", point, v, out, err)
				}
				continue
			}
			wantCode(t, err, kernel.CodeABI)
		}
	}
}

// A panic of the host's own, under a guest, is neither the end of the process
// nor the guest's fault.
func TestHostPanicIsContained(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	for name, cause := range map[string]any{"value": "boom", "error": errors.New("boom"), "runtime": nil} {
		h := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
			if cause == nil {
				var nothing map[string]int
				nothing["x"] = 1
			}
			panic(cause)
		}}
		_, _, err := call(t, m, sandbox.Call{Body: new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Image(), Host: h})
		if kernel.CodeOf(err) != kernel.CodeInternal {
			t.Errorf("%s: code %q, want internal (%v)", name, kernel.CodeOf(err), err)
		}
	}
	play(t, m, new(probe.Script), nil) // and on it goes
}
