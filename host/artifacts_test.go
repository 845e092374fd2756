package host_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// What a node stores says where it comes from: the version of the pipeline, the node, and
// what the node has retrieved before.
func TestArtifactsHaveAnOrigin(t *testing.T) {
	s := newSite(t, "  tenant: acme\n")
	nodes := []string{
		`{kind: service_call_node, metadata: {name: first}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: "'in.txt'", value: "'a'"}}}`,
		`{kind: composite_node, metadata: {name: second}, dependencies: [first], spec: {mode: for-each, items: "[1]", body: [
        {kind: service_call_node, metadata: {name: get}, spec: {service: artifacts, method: retrieve, input_mapping: {id: first.id}}},
        {kind: service_call_node, metadata: {name: put}, dependencies: [get], spec: {service: artifacts, method: store, input_mapping: {name: "'out.txt'", value: get.id, parents: "[first.id]"}}}]}}`,
	}
	versions := map[string]string{}
	for _, value := range []string{"'a'", "'b'"} {
		h, err := s.new(t)
		if err != nil {
			t.Fatal(err)
		}
		r := s.load(t, h, strings.Replace(nodes[0], "'a'", value, 1), nodes[1]).Run(t.Context(), nil, host.RunOptions{})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		store, err := host.OpenArtifacts(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		list, err := store.List(t.Context(), r.RunID)
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		for _, a := range list {
			o := a.Origin
			if o.Tenant != "acme" || o.Pipeline != "test" || !strings.HasPrefix(o.PipelineVersion, "sha256:") || o.Node != map[string]string{"in.txt": "first", "out.txt": "put"}[a.Name] {
				t.Errorf("%s: %+v", a.Name, o)
			}
			versions[o.PipelineVersion] = value
			if a.Name == "out.txt" && (len(o.Parents) != 1 || o.Parents[0] == a.ID) {
				t.Errorf("parents %v", o.Parents)
			}
		}
		if run, err := store.LastRun(t.Context(), "test", list[0].Origin.PipelineVersion[7:15]); err != nil || run != r.RunID {
			t.Errorf("%s, %v", run, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
	if len(versions) != 2 {
		t.Errorf("versions %v", versions)
	}
}

// reading is a hook that reads an artifact of the run, for the node that calls.
type reading struct {
	read func(ctx context.Context, call *kernel.PortCall) error
}

func (r reading) BeforePort(ctx context.Context, call *kernel.PortCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, r.read(ctx, call)
}

func (reading) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// A node that has read an artifact before its run waited stores what was made from it afterwards,
// though it is only told again what it read.
func TestParentsOutlastAWait(t *testing.T) {
	s := careful(t, "")
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := host.OpenArtifacts(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var parent *host.Artifact
	read := func(ctx context.Context, call *kernel.PortCall) (err error) {
		run := kernel.RunFrom(ctx)
		if parent, err = store.Store.Store(ctx, run.RunID, "parent", strings.NewReader("x"), host.StoreOptions{}); err != nil {
			return err
		}
		_, err = run.Door(ctx, &kernel.PortCall{Op: "artifacts.retrieve", Args: map[string]any{"id": parent.ID}, Node: call.Node})
		return err
	}
	h, err := host.New(t.Context(), cfg, host.Options{PortHooks: []host.PortHook{{Name: "reads", Match: func(op string) bool { return op == "metrics.count" }, Hook: reading{func(ctx context.Context, call *kernel.PortCall) error {
		if parent != nil {
			return nil
		}
		return read(ctx, call)
	}}}}})
	if err != nil {
		t.Fatal(err)
	}
	result := s.load(t, h, `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}`).Run(t.Context(), map[string]any{}, host.RunOptions{})
	if result.Status != engine.Suspended || parent == nil {
		t.Fatalf("%s %v", result.Status, result.Err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if last := s.answerAll(t, true); last.Status != engine.Completed {
		t.Fatalf("%s %v", last.Status, last.Err)
	}
	list, err := store.List(t.Context(), result.RunID)
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, a := range list {
		if a.Name == "made" && !slices.Equal(a.Origin.Parents, []string{parent.ID}) {
			t.Errorf("made of %v, want %s", a.Origin.Parents, parent.ID)
		}
	}
}
