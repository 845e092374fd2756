package host_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/testserver"
)

// golden is one case of what hexDAG's reference answered.
type golden struct {
	ID          string                     `json:"id"`
	YAML        string                     `json:"yaml"`
	Input       json.RawMessage            `json:"input"`
	Status      string                     `json:"status"`
	NodeResults map[string]json.RawMessage `json:"node_results"`
	Output      json.RawMessage            `json:"output"`
	Error       string                     `json:"error"`
	Message     string                     `json:"message"`
	Diverge     string                     `json:"diverge"`
	Events      [][]any                    `json:"events"`
	Responses   []string                   `json:"mock_llm_responses"`
	Messages    json.RawMessage            `json:"llm_last_messages"`
	Suspend     *struct {
		Node    string  `json:"wait_node_name"`
		Key     string  `json:"event_key"`
		Timeout float64 `json:"timeout_seconds"`
	} `json:"suspend"`
}

// documented are the results of the cases whose recorded ones are bugs: what the
// documentation says instead. Nodes that are not named are as recorded, or free.
var documented = map[string]map[string]string{
	"single_dep_qualified_name_fails":                {"a": `{"y":2}`, "b": `{"z":20}`},
	"mapping_default_modifier_rejected_by_validator": {"a": `{"n":null}`, "b": `{"o":"d"}`},
	"while_state_update_is_boolean_bug":              {"r": `{"result":[{"i":0},{"i":1},{"i":2}],"metadata":{"mode":"while","iterations":3,"stopped_by":"condition","final_state":{"n":3,"iteration":3},"successful":3,"failed":0,"errors":null}}`},
	"composite_dollar_input_rejected":                {"r": `{"result":{"condition_met":true},"metadata":{"mode":"if-else","condition_met":true,"branch_taken":"if"}}`},
	"llm_single_dep_qualified_fails":                 {"a": `{"topic":"T"}`, "q": `"R1"`},
	"agent_tool_end_json":                            {"ag": `{"answer":"done"}`},
}

// TestConformance holds both executors to what hexDAG's reference answered.
func TestConformance(t *testing.T) {
	t.Run("local", func(t *testing.T) { conformance(t, &host.Config{}) })
	t.Run("temporal", func(t *testing.T) {
		conformance(t, &host.Config{Executor: onTemporal(testserver.Temporal(t).Address(), "conformance")})
	})
}

func conformance(t *testing.T, on *host.Config) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "conformance", "pipelines.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []golden `json:"cases"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 39 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	for _, g := range file.Cases {
		t.Run(g.ID, func(t *testing.T) { g.run(t, on.Executor) })
	}
}

func (g *golden) run(t *testing.T, executor pipeline.ExecutorSpec) {
	asked := &askedModel{}
	h := bareOn(t, executor, host.Options{PortHooks: []host.PortHook{{Name: "asked", Match: func(op string) bool { return op == "llm.complete" }, Hook: asked}}})
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(g.withModel()), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := h.Load(t.Context(), file, host.LoadOptions{})
	if err != nil {
		g.refused(t, err)
		return
	}
	defer p.Close(t.Context())
	input, err := kernel.DecodeJSON(g.Input)
	if err != nil {
		t.Fatal(err)
	}
	recorder := &host.Recorder{}
	result := p.Run(t.Context(), input, host.RunOptions{Recorder: recorder})
	g.check(t, result)
	if g.Diverge == "" {
		g.checkEvents(t, recorder.Events())
		if g.Messages != nil && string(g.Messages) != "[]" {
			if diff := cmp.Diff(plain(t, g.Messages), asked.last); diff != "" {
				t.Errorf("the model was asked (-want +got):\n%s", diff)
			}
		}
	}
}

// bare returns a host without a configuration, closed at the end of the test.
func bare(t *testing.T, opts host.Options) *host.Host {
	t.Helper()
	return bareOn(t, pipeline.ExecutorSpec{}, opts)
}

// onTemporal is an executor with a task queue of its own.
func onTemporal(address, queue string) pipeline.ExecutorSpec {
	return pipeline.ExecutorSpec{Adapter: "temporal", Config: map[string]any{"address": address, "task_queue": queue, "heartbeat": 2.0}}
}

// bareOn is bare with an executor, for which the host works itself.
func bareOn(t *testing.T, executor pipeline.ExecutorSpec, opts host.Options) *host.Host {
	t.Helper()
	if executor.Adapter != "" { // what another host works for is not this one's
		executor.Config = maps.Clone(executor.Config)
		executor.Config["task_queue"] = executor.Config["task_queue"].(string) + "-" + rand.Text()
	}
	h, err := host.New(t.Context(), &host.Config{Executor: executor, File: filepath.Join(t.TempDir(), "hexdag.yaml"), Env: []string{"*"}, Endpoints: []string{"**"}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var working sync.WaitGroup
	if executor.Adapter != "" {
		working.Go(func() {
			if err := h.Work(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		stop()
		working.Wait()
		if err := h.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return h
}

// askedModel notes what the model was last asked.
type askedModel struct{ last any }

func (a *askedModel) BeforePort(_ context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	text, err := kernel.EncodeJSON(call.Args["messages"])
	if err == nil {
		err = json.Unmarshal(text, &a.last)
	}
	return kernel.Verdict{}, err
}

func (a *askedModel) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// withModel puts the model's answers into the pipeline.
func (g *golden) withModel() string {
	if g.Responses == nil {
		return g.YAML
	}
	responses, _ := json.Marshal(g.Responses)
	return strings.Replace(g.YAML, "spec:\n", fmt.Sprintf("spec:\n  ports: {llm: {adapter: mock_llm, config: {responses: %s}}}\n", responses), 1)
}

// refused is a case whose file the reference does not take either.
func (g *golden) refused(t *testing.T, err error) {
	if g.Error != "YamlPipelineBuilderError" || g.Diverge != "" {
		t.Fatalf("not taken: %v", err)
	}
	if kernel.CodeOf(err).Class() != kernel.ClassBadInput {
		t.Errorf("code %s: %v", kernel.CodeOf(err), err)
	}
	for _, node := range []string{"'h'", "'b'", "'r'"} {
		name := strings.Trim(node, "'")
		if strings.Contains(g.Message, "Node "+node) && !strings.Contains(err.Error(), "node "+name) && !strings.Contains(err.Error(), "p.yaml") && !strings.Contains(err.Error(), "pipeline.yaml:") {
			t.Errorf("%v does not name node %s", err, name)
		}
	}
}

func (g *golden) check(t *testing.T, result *host.Result) {
	want := map[string]any{}
	for name, text := range g.NodeResults {
		want[name] = plain(t, text)
	}
	if g.Diverge != "" {
		want = map[string]any{}
		for name, text := range documented[g.ID] {
			want[name] = plain(t, []byte(text))
		}
		if len(want) == 0 {
			t.Fatal("the case diverges, and the test does not know what is documented")
		}
		g.Error, g.Status = "", "completed"
	}
	if g.Error != "" {
		if result.Err == nil {
			t.Fatalf("%s, the reference failed with %s", result.Status, g.Message)
		}
		if _, rest, ok := strings.Cut(g.Message, "- Node '"); ok {
			if node, _, _ := strings.Cut(rest, "'"); result.Error.Where.Node != node {
				t.Errorf("failed at node %q, want %q: %v", result.Error.Where.Node, node, result.Err)
			}
		}
		return
	}
	if string(result.Status) != g.Status {
		t.Fatalf("%s, want %s: %v", result.Status, g.Status, result.Err)
	}
	got := map[string]any{}
	for name, v := range result.NodeResults {
		got[name] = plainValue(t, v)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("node results (-want +got):\n%s", diff)
	}
	if g.Diverge == "" {
		if diff := cmp.Diff(plain(t, g.Output), plainValue(t, result.Output)); diff != "" {
			t.Errorf("output (-want +got):\n%s", diff)
		}
	}
	if g.Suspend != nil {
		if len(result.Waits) != 1 || result.Waits[0].Node != g.Suspend.Node || result.Waits[0].EventKey != g.Suspend.Key || result.Waits[0].Timeout.Seconds() != g.Suspend.Timeout {
			t.Errorf("waits %+v, want %+v", result.Waits, g.Suspend)
		}
	}
}

// checkEvents compares the events of nodes and waves and of the run itself. Bodies
// are no runs of their own here, and nodes of a wave may come in any order.
func (g *golden) checkEvents(t *testing.T, events []*host.Event) {
	var want, got []string
	for _, e := range g.Events {
		kind, _ := e[0].(string)
		name, _ := e[1].(string)
		if name == "unnamed" || kind == "BodyStarted" || strings.HasSuffix(kind, "PortCall") || kind == "LLMPortCall" {
			continue
		}
		want = append(want, eventLine(kind, name, e[2]))
	}
	if g.Error != "" {
		want = append(want, "PipelineCompleted t")
	}
	for _, e := range events {
		switch e.Type {
		case kernel.PipelineStarted, kernel.PipelineCompleted, kernel.PipelineSuspended:
			got = append(got, eventLine(string(e.Type), "t", nil))
		case kernel.NodeStarted, kernel.NodeCompleted, kernel.NodeFailed, kernel.NodeSkipped, kernel.WaveCompleted:
			got = append(got, eventLine(string(e.Type), e.Node, float64(e.Wave)))
		}
	}
	inBody := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return strings.Contains(s, " e ") || s == "WaveCompleted  1" })
	}
	if strings.Contains(g.YAML, "body:") {
		want, got = inBody(want), inBody(got)
	}
	slices.Sort(want)
	sorted := slices.Sorted(slices.Values(got))
	if diff := cmp.Diff(want, sorted); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if n := len(got); n == 0 || got[0] != "PipelineStarted t" || got[n-1] != "PipelineCompleted t" {
		t.Errorf("the run does not begin and end with its events: %v", got)
	}
}

func eventLine(kind, name string, wave any) string {
	if wave == nil {
		return kind + " " + name
	}
	return fmt.Sprintf("%s %s %v", kind, name, wave)
}

// plain reads a recorded value. "$model" marks the type of an object.
func plain(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return unmarked(v)
}

func unmarked(v any) any {
	switch v := v.(type) {
	case map[string]any:
		delete(v, "$model")
		for name, item := range v {
			v[name] = unmarked(item)
		}
	case []any:
		for i, item := range v {
			v[i] = unmarked(item)
		}
	}
	return v
}

func plainValue(t *testing.T, v kernel.Value) any {
	t.Helper()
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return plain(t, text)
}
