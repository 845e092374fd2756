package temporalexecutor_test

import (
	"bytes"
	"testing"
	"time"

	spanpb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/testserver/otlpserver"
)

// TestSpansOfWorkers: the nodes of a run are within its span, though other processes work on them.
func TestSpansOfWorkers(t *testing.T) {
	collector := otlpserver.New(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50") // workers send soon
	c := newCluster(t, 1, "  telemetry: {endpoint: '"+collector.URL+"'}\n")
	p := c.load("traced", `
nodes:
  - {kind: function_node, metadata: {name: a}, spec: {fn: test.large}}
  - {kind: expression_node, metadata: {name: b}, dependencies: [a], spec: {expressions: {n: "1"}}}`)
	if r := p.Run(t.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	want := []string{"node a", "node b", "run traced"}
	spans := map[string]*spanpb.Span{}
	for end := time.Now().Add(patience); len(spans) < len(want) && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		for _, span := range collector.Spans() {
			for _, name := range want {
				if span.Name == name {
					spans[name] = span
				}
			}
		}
	}
	for _, name := range want {
		if spans[name] == nil {
			t.Fatalf("there is no %s among %q", name, collector.Names())
		}
	}
	for _, node := range want[:2] {
		if !bytes.Equal(spans[node].ParentSpanId, spans["run traced"].SpanId) {
			t.Errorf("%s is within %x, not within %x", node, spans[node].ParentSpanId, spans["run traced"].SpanId)
		}
	}
}
