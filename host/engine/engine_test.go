package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type allow struct{}

func (allow) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}
func (allow) Audit(context.Context, *kernel.AuditRecord) error { return nil }

// bench is an engine on one port, "t", whose methods are the given functions.
func bench(t *testing.T, methods map[string]kernel.PortFunc, hooks ...NodeHook) *Engine {
	t.Helper()
	door := ports.NewDoor(allow{}, allow{})
	for name, f := range methods {
		if err := door.Register(ports.Op{Name: "t." + name, Func: f}); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Door: door, Hooks: hooks})
}

// parse makes a pipeline of nodes "name:method:dep,dep".
func parse(t *testing.T, settings string, nodes ...string) *pipeline.Pipeline {
	t.Helper()
	var b strings.Builder
	b.WriteString("kind: Pipeline\nmetadata: {name: t}\nspec:\n" + settings + "  nodes:\n")
	for _, n := range nodes {
		part := strings.SplitN(n, ":", 3)
		deps, extra, _ := strings.Cut(part[2], ";")
		fmt.Fprintf(&b, "    - {kind: service_call_node, metadata: {name: %s}, dependencies: [%s], spec: {service: t, method: %s%s}}\n", part[0], deps, part[1], extra)
	}
	p, err := pipeline.Parse("t.yaml", []byte(b.String()), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type recorder struct {
	mu     sync.Mutex
	events []*kernel.Event
}

func (r *recorder) observe(e *kernel.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) of(types ...kernel.EventType) []string {
	var list []string
	for _, e := range r.events {
		if slices.Contains(types, e.Type) {
			list = append(list, string(e.Type)+" "+e.Node+e.Status)
		}
	}
	return list
}

func runGraph(ctx context.Context, e *Engine, p *pipeline.Pipeline, input kernel.Value) (*Result, *recorder) {
	r := &recorder{}
	plan, err := e.Plan(p, Doors{}, nil)
	if err != nil {
		panic(err) // a test's own pipeline
	}
	return plan.Run(ctx, &kernel.RunContext{RunID: "r1", PipelineName: "t", Tenant: "x", Principal: "u", Started: time.Now(), Observer: r.observe}, input, nil), r
}

func answer(v kernel.Value) kernel.PortFunc {
	return func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		return &kernel.PortReply{Value: v}, nil
	}
}

func failing(code kernel.Code) kernel.PortFunc {
	return func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		return nil, &kernel.Error{Code: code, What: "it went wrong"}
	}
}

func TestEvents(t *testing.T) {
	e := bench(t, map[string]kernel.PortFunc{"ok": answer(json.Number("1"))})
	res, rec := runGraph(t.Context(), e, parse(t, "", "a:ok:", "b:ok:a"), nil)
	if res.Status != Completed || res.Err != nil {
		t.Fatalf("%s %v", res.Status, res.Err)
	}
	want := []string{"PipelineStarted ", "NodeStarted a", "NodeCompleted a", "WaveCompleted ", "NodeStarted b", "NodeCompleted b", "WaveCompleted ", "PipelineCompleted completed"}
	got := rec.of(kernel.PipelineStarted, kernel.NodeStarted, kernel.NodeCompleted, kernel.WaveCompleted, kernel.PipelineCompleted)
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	for _, ev := range rec.events {
		if ev.RunID != "r1" || ev.Pipeline != "t" || ev.Tenant != "x" || ev.Time.IsZero() {
			t.Errorf("an event does not say which run it is of: %+v", ev)
		}
	}
}

// A node starts when what it depends on is done, not when a wave is.
func TestNoWaveBarrier(t *testing.T) {
	release := make(chan struct{})
	e := bench(t, map[string]kernel.PortFunc{
		"ok": answer("x"),
		"slow": func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
			select {
			case <-release:
				return &kernel.PortReply{}, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
		"release": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			close(release)
			return &kernel.PortReply{}, nil
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if res, _ := runGraph(ctx, e, parse(t, "", "slow:slow:", "quick:ok:", "after:release:quick"), nil); res.Status != Completed {
		t.Fatalf("the second wave waited for the first: %v", res.Err)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	var now, most atomic.Int64
	e := bench(t, map[string]kernel.PortFunc{"work": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		return &kernel.PortReply{}, nil
	}})
	var nodes []string
	for i := range 30 {
		nodes = append(nodes, fmt.Sprintf("n%d:work:", i))
	}
	res, _ := runGraph(t.Context(), e, parse(t, "  orchestrator: {max_concurrent_nodes: 4}\n", nodes...), nil)
	if res.Status != Completed || most.Load() != 4 || len(res.NodeResults) != 30 {
		t.Errorf("%s, %d at once, %d results", res.Status, most.Load(), len(res.NodeResults))
	}
}

func TestFailureKeepsSiblings(t *testing.T) {
	started := make(chan struct{})
	e := bench(t, map[string]kernel.PortFunc{
		"ok": answer("kept"),
		"slow": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			close(started)
			time.Sleep(30 * time.Millisecond)
			return &kernel.PortReply{Value: "kept too"}, nil
		},
		"bad": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			<-started
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "it went wrong"}
		},
	})
	res, rec := runGraph(t.Context(), e, parse(t, "", "a:ok:", "b:slow:", "c:bad:", "d:ok:c"), nil)
	if res.Status != Failed || res.NodeResults["a"] != "kept" || res.NodeResults["b"] != "kept too" {
		t.Errorf("%s %v", res.Status, res.NodeResults)
	}
	if _, ran := res.NodeResults["d"]; ran {
		t.Error("d ran although what it depends on failed")
	}
	if res.Error == nil || res.Error.Where.Node != "c" || res.Error.Where.File != "t.yaml" || res.Error.Where.Line == 0 || res.Error.Where.Run != "r1" {
		t.Errorf("the error does not say where: %+v", res.Error)
	}
	if got := rec.of(kernel.PipelineCompleted, kernel.NodeFailed); !slices.Equal(got, []string{"NodeFailed c", "PipelineCompleted failed"}) {
		t.Errorf("events %v", got)
	}
}

func TestSeveralFailuresAreListed(t *testing.T) {
	var gate sync.WaitGroup
	gate.Add(2)
	bad := func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		gate.Done()
		gate.Wait()
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "it went wrong"}
	}
	e := bench(t, map[string]kernel.PortFunc{"bad": bad})
	res, _ := runGraph(t.Context(), e, parse(t, "", "a:bad:", "b:bad:"), nil)
	if res.Error == nil || !strings.Contains(res.Error.Error(), "node a") || !strings.Contains(res.Error.Error(), "node b") {
		t.Errorf("%v", res.Err)
	}
}

func TestRetries(t *testing.T) {
	for _, tc := range []struct {
		extra       string
		fail, calls int
		want        Status
	}{
		{", max_retries: 3, retry_delay: 0.001", 2, 3, Completed},
		{", max_retries: 3, retry_delay: 0.001", 9, 3, Failed},
		{"", 1, 1, Failed},
	} {
		var calls int
		e := bench(t, map[string]kernel.PortFunc{"flaky": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			if calls++; calls <= tc.fail {
				return nil, fmt.Errorf("not yet")
			}
			return &kernel.PortReply{}, nil
		}})
		res, rec := runGraph(t.Context(), e, parse(t, "", "a:flaky:;"+tc.extra), nil)
		if res.Status != tc.want || calls != tc.calls {
			t.Errorf("%q: %s after %d calls, want %s after %d", tc.extra, res.Status, calls, tc.want, tc.calls)
		}
		if failed := rec.of(kernel.NodeFailed); tc.want == Failed && len(failed) != 1 {
			t.Errorf("%d events NodeFailed", len(failed))
		}
	}
}

func TestDenialIsNotRetried(t *testing.T) {
	calls := 0
	e := bench(t, map[string]kernel.PortFunc{"no": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		calls++
		return nil, &kernel.Error{Code: kernel.CodeDenied, What: "no"}
	}})
	if res, _ := runGraph(t.Context(), e, parse(t, "", "a:no:;, max_retries: 5, retry_delay: 0.001"), nil); res.Status != Denied || calls != 1 {
		t.Errorf("%s after %d calls", res.Status, calls)
	}
}

func TestRetryDelays(t *testing.T) {
	r := pipeline.Retry{Delay: time.Second, Backoff: 2, MaxDelay: 10 * time.Second}
	var got []time.Duration
	for i := range 6 {
		got = append(got, r.After(i+1)/time.Second)
	}
	if !slices.Equal(got, []time.Duration{1, 2, 4, 8, 10, 10}) {
		t.Errorf("got %v", got)
	}
}

func waits(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
	<-ctx.Done()
	return nil, kernel.ContextError(ctx)
}

func TestTimeouts(t *testing.T) {
	e := bench(t, map[string]kernel.PortFunc{"wait": waits, "ok": answer("x")})
	res, rec := runGraph(t.Context(), e, parse(t, "", "a:wait:;, timeout: 0.02"), nil)
	if res.Status != Failed || res.Error.Code != kernel.CodeTimeout || !strings.Contains(res.Error.Error(), "timeout of node a is 20ms") {
		t.Errorf("%s %v", res.Status, res.Err)
	}
	if got := rec.of(kernel.NodeCancelled); len(got) != 1 {
		t.Errorf("events %v", got)
	}
	start := time.Now()
	res, _ = runGraph(t.Context(), e, parse(t, "  orchestrator: {pipeline_timeout: 0.5}\n", "a:ok:", "b:wait:a", "c:ok:b"), nil)
	if res.Status != Cancelled || res.NodeResults["a"] != "x" || time.Since(start) > 5*time.Second {
		t.Errorf("%s %v after %s", res.Status, res.NodeResults, time.Since(start))
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	e := bench(t, map[string]kernel.PortFunc{"wait": waits, "cancel": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		cancel()
		return &kernel.PortReply{Value: "done"}, nil
	}})
	res, rec := runGraph(ctx, e, parse(t, "", "a:wait:", "b:cancel:", "c:wait:b"), nil)
	if res.Status != Cancelled || res.NodeResults["b"] != "done" || res.Error == nil {
		t.Errorf("%s %v %v", res.Status, res.NodeResults, res.Err)
	}
	if got := rec.of(kernel.PipelineCompleted); len(got) != 1 {
		t.Errorf("terminal events %v", got)
	}
}

func TestPanicFailsTheNode(t *testing.T) {
	e := bench(t, map[string]kernel.PortFunc{"panic": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) { panic("boom") }})
	res, _ := runGraph(t.Context(), e, parse(t, "", "a:panic:"), nil)
	if res.Status != Failed || res.Error.Code != kernel.CodeInternal || !strings.Contains(res.Error.What, "boom") {
		t.Errorf("%s %v", res.Status, res.Err)
	}
}

// hook is a NodeHook made of two functions; nil continues.
type hook struct {
	before func(*kernel.NodeCall) kernel.Verdict
	after  func(kernel.Value, error) kernel.Verdict
}

func (h hook) BeforeNode(_ context.Context, c *kernel.NodeCall) (kernel.Verdict, error) {
	if h.before == nil {
		return kernel.Verdict{}, nil
	}
	return h.before(c), nil
}

func (h hook) AfterNode(_ context.Context, _ *kernel.NodeCall, out kernel.Value, err error) (kernel.Verdict, error) {
	if h.after == nil {
		return kernel.Verdict{}, nil
	}
	return h.after(out, err), nil
}

func TestHooks(t *testing.T) {
	echo := func(_ context.Context, c *kernel.PortCall) (*kernel.PortReply, error) {
		return &kernel.PortReply{Value: c.Args["x"]}, nil
	}
	add := func(s string) NodeHook {
		return NodeHook{Name: s, Hook: hook{
			before: func(c *kernel.NodeCall) kernel.Verdict {
				return kernel.Verdict{Action: kernel.Replace, Value: map[string]any{"x": c.Input.(map[string]any)["x"].(string) + s}}
			},
			after: func(v kernel.Value, _ error) kernel.Verdict {
				return kernel.Verdict{Action: kernel.Replace, Value: v.(string) + s}
			},
		}}
	}
	verdict := func(v kernel.Verdict) NodeHook {
		return NodeHook{Name: "h", Hook: hook{before: func(*kernel.NodeCall) kernel.Verdict { return v }}}
	}
	for name, tc := range map[string]struct {
		hooks  []NodeHook
		status Status
		want   kernel.Value
	}{
		"first is outermost": {[]NodeHook{add("1"), add("2")}, Completed, "in1221"},
		"skip":               {[]NodeHook{verdict(kernel.Verdict{Action: kernel.Skip, Value: "cached"}), add("2")}, Completed, "cached"},
		"deny":               {[]NodeHook{verdict(kernel.Verdict{Action: kernel.Deny, Reason: "no"})}, Denied, nil},
		"other nodes":        {[]NodeHook{{Nodes: []string{"z"}, Hook: add("1").Hook}, {Kinds: []string{"llm_node"}, Hook: add("1").Hook}}, Completed, "in"},
		"this node":          {[]NodeHook{{Nodes: []string{"a"}, Hook: add("1").Hook}}, Completed, "in11"},
		"this kind":          {[]NodeHook{{Kinds: []string{"service_call_node"}, Hook: add("1").Hook}}, Completed, "in11"},
	} {
		t.Run(name, func(t *testing.T) {
			e := bench(t, map[string]kernel.PortFunc{"echo": echo}, tc.hooks...)
			res, _ := runGraph(t.Context(), e, parse(t, "", "a:echo:"), map[string]any{"x": "in"})
			if res.Status != tc.status || res.NodeResults["a"] != tc.want {
				t.Errorf("%s %v %v", res.Status, res.NodeResults, res.Err)
			}
		})
	}
}

func TestAfterHookSeesTheFailureAndMayReplaceIt(t *testing.T) {
	var seen error
	rescue := NodeHook{Name: "rescue", Hook: hook{after: func(_ kernel.Value, err error) kernel.Verdict {
		seen = err
		return kernel.Verdict{Action: kernel.Replace, Value: "rescued"}
	}}}
	e := bench(t, map[string]kernel.PortFunc{"bad": failing(kernel.CodeFailed)}, rescue)
	res, _ := runGraph(t.Context(), e, parse(t, "", "a:bad:"), nil)
	if res.Status != Completed || res.NodeResults["a"] != "rescued" || seen == nil {
		t.Errorf("%s %v, saw %v", res.Status, res.NodeResults, seen)
	}
}

func TestCheck(t *testing.T) {
	e := bench(t, map[string]kernel.PortFunc{"ok": answer("x")})
	p, err := pipeline.Parse("t.yaml", []byte(`kind: Pipeline
metadata: {name: t}
spec:
  nodes:
    - {kind: llm_node, metadata: {name: a}, spec: {human_message: hi}}
    - {kind: function_node, metadata: {name: b}, spec: {fn: nobody.tool}}
    - {kind: service_call_node, metadata: {name: c}, spec: {service: t, method: nope}}
    - {kind: service_call_node, metadata: {name: d}, spec: {service: t, method: ok}}
`), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Plan(p, Doors{}, nil)
	for _, s := range []string{"missing required port 'llm'", "t.yaml:5", "there is no module nobody", "t.yaml:6", "no operation t.nope", "t.yaml:7"} {
		if err == nil || !strings.Contains(err.Error(), s) {
			t.Errorf("%v does not say %s", err, s)
		}
	}
}

func TestManyRunsAtOnce(t *testing.T) {
	e := bench(t, map[string]kernel.PortFunc{"ok": answer("x")})
	p := parse(t, "", "a:ok:", "b:ok:a", "c:ok:a", "d:ok:b,c")
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if res, _ := runGraph(t.Context(), e, p, nil); res.Status != Completed || len(res.NodeResults) != 4 {
				t.Errorf("%s %v", res.Status, res.Err)
			}
		})
	}
	wg.Wait()
}
