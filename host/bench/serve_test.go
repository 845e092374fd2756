package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/open-policy-agent/opa/v1/rego"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server"
	"github.com/hexdag/hexdag/host/testserver"
)

const (
	servePolicy = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": effect, "reasons": [{"id": "bench", "msg": "it counts"}]}

default effect := "deny"

effect := "allow" if input.action.name in {"metrics.count", "pipeline.run", "run.read"}
`
	serveConfig = `kind: Config
metadata: {name: bench}
spec:
  server: {pipelines: [three.yaml], max_running: 4096, per_second: 1000000}
  modules: {guard: {path: guard.wasm, isolation: shared, grants: [metrics.count, database.query]}}
  hooks: [{module: guard}]
  ports: {database: {adapter: memory}, governance: {adapter: rego, config: {dirs: [policy]}}}
`
	servePipeline = `kind: Pipeline
metadata: {name: three}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: a}, dependencies: [], spec: {service: metrics, method: count, input_mapping: {name: "'a'"}}}
    - {kind: service_call_node, metadata: {name: b}, dependencies: [a], spec: {service: metrics, method: count, input_mapping: {name: "'b'"}}}
    - {kind: service_call_node, metadata: {name: c}, dependencies: [b], spec: {service: metrics, method: count, input_mapping: {name: "'c'"}}}
`
)

// BenchmarkServe has 64 clients start runs over HTTP, each of which waits for the end of one before it starts the next: three nodes one after
// the other, each with a module's hook and a decision of a policy in Rego, durable on this machine's disk. Beside hexdag's server stands what a
// Go program would have instead: a handler that starts a workflow of three activities on Temporal's development server, each of which calls a
// plugin of Extism and asks OPA. That server keeps it in a file, or, faster, nowhere; and local activities are not scheduled one by one.
func BenchmarkServe(b *testing.B) {
	b.Run("hexdag", func(b *testing.B) { served(b, hexdagServer(b)+"/v1/pipelines/three/runs?wait=30") })
	b.Run("temporal", func(b *testing.B) { served(b, temporalServer(b, testserver.Temporal(b), workflow.ExecuteActivity)) })
	b.Run("temporal-in-memory", func(b *testing.B) {
		served(b, temporalServer(b, testserver.TemporalInMemory(b), workflow.ExecuteActivity))
	})
	b.Run("temporal-in-memory-local", func(b *testing.B) {
		served(b, temporalServer(b, testserver.TemporalInMemory(b), workflow.ExecuteLocalActivity))
	})
}

// served measures the runs that a POST to url does.
func served(b *testing.B, url string) {
	const clients = 64
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer web.CloseIdleConnections()
	one := func() error {
		resp, err := web.Post(url, "application/json", strings.NewReader("{}")) //nolint:noctx // it ends
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"status":"completed"`)) {
			err = fmt.Errorf("%d %s", resp.StatusCode, text)
		}
		return err
	}
	testserver.Load(b, clients, one)
}

func hexdagServer(b *testing.B) string {
	dir := b.TempDir()
	must(b, os.Mkdir(filepath.Join(dir, "policy"), 0o700))
	guard, err := os.ReadFile("../testdata/puppet/puppet.wasm")
	must(b, err)
	for name, text := range map[string]string{"hexdag.yaml": serveConfig, "three.yaml": servePipeline, "policy/authz.rego": servePolicy, "guard.wasm": string(guard)} {
		must(b, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
	must(b, err)
	s, err := server.Open(ctx, cfg, server.Options{})
	must(b, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	serving, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		if err := s.Serve(serving, l); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		stop()
		done.Wait()
		must(b, s.Close(ctx))
	})
	return "http://" + l.Addr().String()
}

// counting is what an activity has beside Temporal: plugins, a policy and what it counts.
type counting struct {
	plugins sync.Pool
	policy  rego.PreparedEvalQuery
	counted atomic.Int64
}

func newCounting(b *testing.B) *counting {
	compiled := newExtism(b)
	policy, err := rego.New(rego.Query("data.hexdag.authz.decision"), rego.Module("authz.rego", servePolicy)).PrepareForEval(ctx)
	must(b, err)
	return &counting{policy: policy, plugins: sync.Pool{New: func() any {
		p, err := compiled.Instance(ctx, extism.PluginInstanceConfig{})
		if err != nil {
			return err
		}
		return p
	}}}
}

func (c *counting) count(ctx context.Context, name string) (int64, error) {
	p, ok := c.plugins.Get().(*extism.Plugin)
	if !ok {
		return 0, fmt.Errorf("there is no plugin")
	}
	defer c.plugins.Put(p)
	if _, _, err := p.Call("echo", fmt.Appendf(nil, `{"node": %q, "input": {}}`, name)); err != nil {
		return 0, err
	}
	decided, err := c.policy.Eval(ctx, rego.EvalInput(map[string]any{"subject": map[string]any{"type": "user", "id": "ada"}, "action": map[string]any{"name": "metrics.count", "args": map[string]any{"name": name}}}))
	if err != nil {
		return 0, err
	}
	if d, _ := decided[0].Expressions[0].Value.(map[string]any); d["effect"] != "allow" {
		return 0, fmt.Errorf("denied: %v", d)
	}
	return c.counted.Add(1), nil
}

// execute starts an activity in a workflow.
type execute func(ctx workflow.Context, activity any, args ...any) workflow.Future

func temporalServer(b *testing.B, at *testserver.Process, do execute) string {
	c, err := client.Dial(client.Options{HostPort: at.Address(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	must(b, err)
	b.Cleanup(c.Close)
	w := worker.New(c, "three", worker.Options{MaxConcurrentWorkflowTaskPollers: 16, MaxConcurrentActivityTaskPollers: 16})
	counter := newCounting(b)
	w.RegisterActivityWithOptions(counter.count, activity.RegisterOptions{Name: "count"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		retry := &temporal.RetryPolicy{MaximumAttempts: 10}
		ctx = workflow.WithLocalActivityOptions(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: retry}), workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: retry})
		for _, name := range []string{"a", "b", "c"} {
			if err := do(ctx, "count", name).Get(ctx, nil); err != nil {
				return err
			}
		}
		return nil
	}, workflow.RegisterOptions{Name: "three"})
	must(b, w.Start())
	b.Cleanup(w.Stop)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		run, err := c.ExecuteWorkflow(r.Context(), client.StartWorkflowOptions{TaskQueue: "three"}, "three")
		if err == nil {
			err = run.Get(r.Context(), nil)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(rw, `{"run_id":%q,"status":"completed"}`, run.GetID())
	}))
	b.Cleanup(web.Close)
	return web.URL
}
