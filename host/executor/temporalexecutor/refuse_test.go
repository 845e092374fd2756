package temporalexecutor_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/executor"
	"github.com/hexdag/hexdag/host/executor/temporalexecutor"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// guest is the path of a module of the tests.
func guest(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// modules is a configuration with a module called box.
func modules(path, more string) string {
	return "  modules: {box: {path: " + path + ", grants: [artifacts.store, artifacts.list, memory.get, memory.set, metrics.count, pipeline_memory.get, pipeline_memory.set, database.query], config: {output: 7}" + more + "}}\n"
}

// The ports of who starts runs, and those of a worker that sees the same artifacts.
const (
	own    = "  ports: {database: {adapter: memory}}\n"
	shared = "  ports: {database: {adapter: memory}, artifacts: {adapter: file, config: {root: .hexdag/artifacts}}}\n"
)

const boxed = `
nodes:
  - {kind: function_node, metadata: {name: box}, dependencies: [], spec: {fn: box}}`

// other has the cluster's workers from now on be of another configuration than who starts runs.
func (c *cluster) other(spec, executor string) {
	c.t.Helper()
	c.config = c.write("worker.yaml", "kind: Config\nspec:\n  state: other\n  executor: {adapter: temporal, config: {"+settings(c.server.Address(), executor)+"}}\n"+spec)
}

// TestFetchedModule has a worker with another module's bytes under the name: it fetches those that the run began with, and
// runs them with the grants and the configuration that it has for the name.
func TestFetchedModule(t *testing.T) {
	server := testserver.Temporal(t)
	puppet, toolbox := guest(t, "testdata/puppet/puppet.wasm"), guest(t, "enforcement/toolbox/toolbox.wasm")
	c := newClusterOn(t, server, 0, modules(puppet, "")+own, "")
	c.other(strings.Replace(modules(toolbox, ""), "output: 7", "output: 8", 1)+shared, "")
	c.start()
	p := c.load("boxed", boxed)
	r := p.Run(t.Context(), map[string]any{}, host.RunOptions{})
	if text, _ := kernel.EncodeJSON(r.NodeResults["box"]); r.Status != engine.Completed || string(text) != "8" {
		t.Fatalf("%s %s: %v", r.Status, text, r.Err)
	}

	// A worker that has to fetch what was collected says so.
	cfg, err := host.LoadConfig(filepath.Join(c.dir, "hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	store, err := host.OpenArtifacts(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	stored, err := store.List(t.Context(), "hexdag.executor")
	if err != nil || len(stored) != 2 {
		t.Fatalf("%d, %v", len(stored), err)
	}
	for _, a := range stored {
		if a.Size > 1000 { // the module; the other is the pipeline
			if err := store.Delete(t.Context(), a.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.kill(0)
	c.start()
	r = p.Run(t.Context(), map[string]any{}, host.RunOptions{})
	wantError(t, r.Err, kernel.CodeNotFound, "module box is not there to be fetched", "box@sha256:", "do not collect artifacts of run hexdag.executor")
	c.server = nil
}

// TestWorkersThatRefuse have another configuration than who starts runs.
func TestWorkersThatRefuse(t *testing.T) {
	server := testserver.Temporal(t)
	puppet := guest(t, "testdata/puppet/puppet.wasm")
	toolbox := guest(t, "enforcement/toolbox/toolbox.wasm")
	info, err := host.InspectModule(t.Context(), toolbox, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, spec string
		code       kernel.Code
		words      []string
	}{
		{"no_module", shared, kernel.CodeModuleNotFound, []string{"this worker has no module box", "runs only what its own configuration grants", "add it under spec.modules of the worker's configuration", "box@sha256:"}},
		{"pinned", modules(toolbox, ", digest: \""+info.Digest+"\"") + shared, kernel.CodeModuleGrant, []string{"not the one that is pinned here", "pins " + info.Digest, "review the run's module"}},
		{"no_grant", strings.Replace(modules(toolbox, ""), ", database.query", "", 1) + shared, kernel.CodeModuleGrant, []string{"box", "grant"}},
		{"own_artifacts", modules(puppet, "") + own, kernel.CodeNotFound, []string{"is not there to be fetched", "configure the port artifacts of this worker as that of whoever starts runs"}},
		{"tenant", "  tenant: another\n" + modules(puppet, "") + shared, kernel.CodeConfig, []string{"of another tenant than this worker", "task_queue of its own"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			queue := ", task_queue: " + tc.name
			c := newClusterOn(t, server, 0, modules(puppet, "")+own, queue)
			c.other(tc.spec, queue)
			c.start()
			r := c.load("boxed", boxed).Run(t.Context(), map[string]any{}, host.RunOptions{})
			wantError(t, r.Err, tc.code, tc.words...)
			c.server = nil // histories are replayed by others
		})
	}
}

// TestNobodyThere says what is missing where a run cannot begin, or waits.
func TestNobodyThere(t *testing.T) {
	server := testserver.Temporal(t)
	nodes := `
nodes:
  - {kind: expression_node, metadata: {name: x}, spec: {expressions: {n: "1"}}}`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	for _, tc := range []struct {
		name, executor string
		code           kernel.Code
		words          []string
	}{
		{"no server", ", address: \"" + free + "\"", kernel.CodeUnavailable, []string{"the executor's Temporal cannot be reached", free, "start Temporal there", "hexdag.yaml:3"}},
		{"no namespace", ", namespace: nowhere", kernel.CodeConfig, []string{"it has no namespace nowhere", "temporal operator namespace create nowhere"}},
		{"no worker", ", task_queue: empty, worker_timeout: 0.5", kernel.CodeUnavailable, []string{"no worker polls task queue empty of namespace default", "start one: hexdag worker"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClusterOn(t, server, 0, "", tc.executor)
			recorder := &host.Recorder{}
			r := c.load("p", nodes).Run(t.Context(), map[string]any{}, host.RunOptions{Recorder: recorder})
			wantError(t, r.Err, tc.code, tc.words...)
			waits := false
			for _, e := range recorder.Events() {
				waits = waits || e.Type == kernel.RunWaits && strings.Contains(e.Reason, "the run waits for a worker")
			}
			if waits != (tc.name == "no worker") {
				t.Errorf("it said that it waits for a worker: %v", waits)
			}
			c.server = nil
		})
	}
}

// TestStarts are starts that Temporal would refuse in words of its own.
func TestStarts(t *testing.T) {
	server := testserver.Temporal(t)
	x, err := temporalexecutor.Open(temporalexecutor.Config{Address: server.Address()}, kernel.Where{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	c := &cluster{t: t, server: server}
	cl := c.client()
	defer cl.Close()
	if _, err := cl.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "taken", TaskQueue: "hexdag"}, "hexdag.run"); err != nil {
		t.Fatal(err)
	}
	_, err = x.Run(t.Context(), &executor.Start{RunID: "taken"}, nil)
	wantError(t, err, kernel.CodeFailed, "run taken has begun already", "start it under another id", "hexdag resume taken")
	_, err = x.Run(t.Context(), &executor.Start{RunID: "large", Pipeline: "p", Graph: executor.Graph{Nodes: make([]executor.Node, 200_000)}}, nil)
	wantError(t, err, kernel.CodeLimit, "pipeline p is too large", "200000 nodes", "split the pipeline")
	_, err = x.Run(t.Context(), &executor.Start{RunID: "wide", Pipeline: "p", Graph: executor.Graph{Nodes: []executor.Node{{Name: strings.Repeat("n", 2<<20)}}}}, nil)
	wantError(t, err, kernel.CodeLimit, "pipeline p is too large", "the limit of a message is", "split the pipeline")

	// Nobody works on it: that it is cancelled is all that can be said.
	ctx, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	if _, err = x.Run(ctx, &executor.Start{RunID: "late"}, nil); err == nil || !errors.Is(err, context.DeadlineExceeded) && kernel.CodeOf(err) != kernel.CodeUnavailable {
		t.Errorf("%v", err)
	}
}

// TestConfigurations are of executors that cannot be.
func TestConfigurations(t *testing.T) {
	for _, tc := range []struct {
		spec  string
		words []string
	}{
		{"executor: {adapter: tempral}", []string{"there is no executor tempral", "temporal"}},
		{"executor: {adapter: temporal, config: {queue: x}}", []string{"configuration of executor temporal", "task_queue"}},
		{"executor: {adapter: temporal, config: {heartbeat: -1}}", []string{"negative"}},
		{"executor: {adapter: temporal, config: {ca: nowhere.pem}}", []string{"certificates", "nowhere.pem"}},
		{"executor: {adapter: temporal, config: {api_key: \"${NO_SUCH_API_KEY}\"}}", []string{"NO_SUCH_API_KEY", "is not set"}},
		{"ports: {artifacts: {adapter: memory}}\n  executor: {adapter: temporal}", []string{"artifacts that all its processes see", "in the memory of one process", "blob, nats or mlflow"}},
	} {
		dir := t.TempDir()
		c := &cluster{t: t, dir: dir}
		cfg, err := host.LoadConfig(c.write("hexdag.yaml", "kind: Config\nspec:\n  "+tc.spec+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = host.New(t.Context(), cfg, host.Options{})
		wantError(t, err, kernel.CodeConfig, tc.words...)
	}
	h, err := host.New(t.Context(), &host.Config{File: filepath.Join(t.TempDir(), "hexdag.yaml")}, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(context.Background())
	wantError(t, h.Work(t.Context()), kernel.CodeConfig, "there is nothing to work for", "executor: {adapter: temporal")
}
