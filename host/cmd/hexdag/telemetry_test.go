package main

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/hexdag/hexdag/host/testserver/otlpserver"
)

// A command sends spans where the environment says, within the trace that it was started in.
func TestRunIsTraced(t *testing.T) {
	collector := otlpserver.New(t)
	in := folder(t, map[string]string{"pipeline.yaml": "kind: Pipeline\nmetadata: {name: hello}\nspec:\n  nodes:\n    - {kind: data_node, metadata: {name: a}, spec: {output: 1}}\n"})
	cli(t, "", "run", in("pipeline.yaml")).wants(t, exitDone)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	cli(t, "", "run", in("pipeline.yaml")).wants(t, exitDone)
	if names := collector.Names(); !slices.Equal(names, []string{"node a", "run hello"}) {
		t.Fatalf("%q", names)
	}
	for _, span := range collector.Spans() {
		if trace := hex.EncodeToString(span.TraceId); trace != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("%s is in trace %s", span.Name, trace)
		}
		if parent := hex.EncodeToString(span.ParentSpanId); span.Name == "run hello" && parent != "b7ad6b7169203331" {
			t.Errorf("the run is within %s", parent)
		}
	}
}
