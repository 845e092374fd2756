package host_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/lib/processregistry"
)

// asks is a node that takes 55 tokens of a model, and keeps 65 for that.
const asks = `{kind: service_call_node, metadata: {name: asks}, dependencies: [%s], spec: {service: llm, method: complete, input_mapping: {messages: "[{'role': 'user', 'content': 'hi'}]", max_tokens: "60"}}}`

// spender is a site whose runs ask a model, and start others that do.
func spender(t *testing.T, parent string) site {
	t.Helper()
	s := newSite(t, "  tenant: acme\n  libraries: {pipelines: pipelines}\n  ports: {llm: {adapter: mock, config: {responses: [\""+strings.Repeat("word ", 40)+"\"]}}}\n")
	s.write(t, "pipelines/child.yaml", "kind: Pipeline\nmetadata: {name: child}\nspec:\n  nodes:\n    - "+fmt.Sprintf(asks, "")+"\n")
	s.write(t, "pipelines/waits.yaml", "kind: Pipeline\nmetadata: {name: waits}\nspec:\n  nodes:\n    - {kind: wait_node, metadata: {name: w}, spec: {event_key: go}}\n    - "+fmt.Sprintf(asks, "w")+"\n")
	s.write(t, "pipelines/middle.yaml", "kind: Pipeline\nmetadata: {name: middle}\nspec:\n  nodes:\n    - "+starts("a", "child", "")+"\n    - "+awaits("b", "a")+"\n")
	s.write(t, "parent.yaml", "kind: Pipeline\nmetadata: {name: parent}\nspec:\n  limits: {max_total_tokens: 150}\n  nodes:\n"+parent)
	return s
}

func starts(name, pipeline, after string) string {
	return fmt.Sprintf(`{kind: service_call_node, metadata: {name: %s}, dependencies: [%s], spec: {service: pipeline_spawner, method: spawn, input_mapping: {pipeline: "'%s'"}}}`, name, after, pipeline)
}

func awaits(name, started string) string {
	return fmt.Sprintf(`{kind: service_call_node, metadata: {name: %s}, dependencies: [%s], spec: {service: pipeline_spawner, method: await, input_mapping: {run_id: %s.run_id}}}`, name, started, started)
}

// linesOf are those of a pipeline, a line each.
func linesOf(nodes ...string) string { return "    - " + strings.Join(nodes, "\n    - ") + "\n" }

// holding is an operation that only asks, and answers once it may.
func holding() (op host.PortOp, entered chan struct{}, open chan struct{}) {
	entered, open = make(chan struct{}, 10), make(chan struct{})
	return host.PortOp{Name: "http.request", Func: func(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
		entered <- struct{}{}
		select {
		case <-open:
			return &kernel.PortReply{Value: true}, nil
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		}
	}}, entered, open
}

func holds(after string) string {
	return `{kind: service_call_node, metadata: {name: hold}, dependencies: [` + after + `], spec: {service: http, method: request, input_mapping: {url: "'http://x.example'"}}}`
}

func (s site) opened(t *testing.T, opts host.Options) *host.Host {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

func (s site) parent(t *testing.T, h *host.Host) *host.Pipeline {
	t.Helper()
	p, err := h.Load(t.Context(), s.path("parent.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// A run's limits are those of all that comes of it: a run that it has started, or that such a one has, spends of what is left.
func TestLimitsAreGivenDown(t *testing.T) {
	s := spender(t, linesOf(starts("a", "child", ""), awaits("b", "a"), starts("c", "middle", "b"), awaits("d", "c"), starts("e", "child", "d"), awaits("f", "e")))
	r := s.parent(t, s.opened(t, host.Options{})).Run(t.Context(), map[string]any{}, host.RunOptions{})
	wantError(t, r.Err, kernel.CodeFailed, "node f")
	if !strings.Contains(r.Err.Error(), "a run of parent and those that it has started have spent what they may") || !strings.Contains(r.Err.Error(), "limits.max_total_tokens is 150, and 110 of it is used") {
		t.Error(r.Err)
	}
	if _, done := r.NodeResults["d"]; !done || r.Usage.InputTokens != 0 {
		t.Error("the first two have room, and what they take is theirs:", r.NodeResults, r.Usage)
	}
}

// What those have spent that a run had started counts when it goes on in another process.
func TestLimitsGivenDownAreRecovered(t *testing.T) {
	s := spender(t, linesOf(starts("a", "child", ""), awaits("b", "a"), starts("c", "middle", "b"), awaits("d", "c"), holds("d"), fmt.Sprintf(asks, "hold")))
	op, entered, _ := holding()
	first := s.opened(t, host.Options{Durable: true, Ports: []host.PortOp{op}})
	result := make(chan *host.Result, 1)
	p := s.parent(t, first)
	go func() { result <- p.Run(context.Background(), map[string]any{}, host.RunOptions{}) }()
	select {
	case <-entered:
	case r := <-result:
		t.Fatal(r.Err)
	}
	first.Leave(t.Context())
	<-result
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	op, _, open := holding()
	close(open)
	second := s.opened(t, host.Options{Durable: true, Ports: []host.PortOp{op}})
	recovered := 0
	err := second.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) {
		recovered++
		if r.Err != nil {
			t.Error(r.Err)
			return
		}
		wantError(t, r.Result.Err, kernel.CodeLimit, "the run has spent what it may", "limits.max_total_tokens is 150, and 110 of it is used")
	})
	if err != nil || recovered != 1 {
		t.Error(recovered, err)
	}
}

// A run that goes on, once what it has waited for is there, spends of what is left of who started it, as long as that is here.
func TestLimitsGivenDownAreResumed(t *testing.T) {
	s := spender(t, linesOf(starts("a", "child", ""), awaits("b", "a"), starts("c", "child", "b"), awaits("d", "c"), starts("e", "waits", "d"), holds("e")))
	op, entered, open := holding()
	h := s.opened(t, host.Options{Durable: true, Ports: []host.PortOp{op}})
	result := make(chan *host.Result, 1)
	p := s.parent(t, h)
	go func() { result <- p.Run(context.Background(), map[string]any{}, host.RunOptions{}) }()
	select {
	case <-entered:
	case r := <-result:
		t.Fatal(r.Err)
	}
	var waits *processregistry.Process
	for deadline := time.Now().Add(time.Minute); waits == nil; time.Sleep(10 * time.Millisecond) {
		list, err := h.Processes().List(t.Context(), "acme", processregistry.Filter{Pipeline: "waits", Status: processregistry.Suspended})
		if err != nil || time.Now().After(deadline) {
			t.Fatal(list, err)
		}
		if len(list) > 0 {
			waits = list[0]
		}
	}
	r, err := h.Resume(t.Context(), waits.RunID, "go", nil, host.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, r.Err, kernel.CodeLimit, "a run of parent and those that it has started have spent what they may")
	close(open)
	if r := <-result; r.Err != nil {
		t.Error(r.Err)
	}
}

// What was started for a goal ends when the goal's time is up, and says so.
func TestAGoalsTimeIsGivenDown(t *testing.T) {
	a := newAgency(t, "", "")
	a.agent("hasty", "", ", timeout: 3")
	a.model.says("A-1", start("lookup", `{"order": "A-1"}`), waitForAll, endsWith("done", "told them"))
	op, _, _ := holding()
	opts := a.options()
	opts.Ports = append(opts.Ports, op)
	a.write(t, "pipelines/lookup.yaml", "kind: Pipeline\nmetadata: {name: lookup}\nspec:\n  nodes:\n    - "+holds("")+"\n")
	a.host = a.opened(t, opts)
	if r := a.run("hasty", "see to A-1", host.RunOptions{}); r.Status != engine.Failed || kernel.CodeOf(r.Err) != kernel.CodeTimeout {
		t.Error(r.Status, r.Err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list, err := a.host.Processes().List(t.Context(), "acme", processregistry.Filter{Pipeline: "lookup"})
		if err != nil || len(list) != 1 || time.Now().After(deadline) {
			t.Fatal(list, err)
		}
		if list[0].Status != processregistry.Running {
			if text := fmt.Sprint(list[0].Status, list[0].Error); !strings.Contains(text, "the goal that it was started for has until") {
				t.Error(text)
			}
			return
		}
	}
}
