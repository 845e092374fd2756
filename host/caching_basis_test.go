package host_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// file runs a file of this text.
func (c *caches) file(t *testing.T, h *host.Host, text string, load host.LoadOptions, opts host.RunOptions) *host.Result {
	t.Helper()
	c.write(t, "pipeline.yaml", text)
	p, err := h.Load(t.Context(), c.path("pipeline.yaml"), load)
	if err != nil {
		t.Fatal(err)
	}
	return p.Run(t.Context(), nil, opts)
}

const (
	lookUp = `{kind: service_call_node, metadata: {name: q}, dependencies: [], spec: {service: database, method: query, cache: true, input_mapping: {table: "'mails'"}}}`
	only   = "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - "
)

// mails are ports with one mail.
func mails(text string) string {
	return "  ports: {database: {adapter: memory, config: {tables: {mails: [{id: 1, text: " + text + "}]}}}}\n"
}

// Two that differ in what stands around a node have an answer each.
func TestCacheKeepsFilesApart(t *testing.T) {
	environment := func(name string) string {
		return "kind: Pipeline\nmetadata: {name: test, namespace: " + name + "}\nspec:\n" + mails(name) + "  nodes:\n    - " + lookUp + "\n"
	}
	both := environment("dev") + "---\n" + environment("prod")
	inBody := "{kind: composite_node, metadata: {name: c}, dependencies: [], spec: {mode: times, count: 1, body_pipeline: body.yaml%s}}\n"
	output := func(of string) string {
		return "kind: Pipeline\nmetadata: {name: b}\nspec:\n  nodes:\n    - {kind: expression_node, metadata: {name: x}, dependencies: [], spec: {expressions: {dev: \"'dev'\", prod: \"'prod'\"}}}\n  output: {v: x." + of + "}\n"
	}
	for name, run := range map[string]func(t *testing.T, c *caches, h *host.Host, which string) *host.Result{
		"environments of a file": func(t *testing.T, c *caches, h *host.Host, which string) *host.Result {
			return c.file(t, h, both, host.LoadOptions{Environment: which}, host.RunOptions{})
		},
		"the ports around a body's file": func(t *testing.T, c *caches, h *host.Host, which string) *host.Result {
			c.write(t, "body.yaml", only+lookUp+"\n")
			return c.file(t, h, "kind: Pipeline\nmetadata: {name: test}\nspec:\n"+mails(which)+"  nodes:\n    - "+strings.Replace(inBody, "%s", "", 1), host.LoadOptions{}, host.RunOptions{})
		},
		"a body's output": func(t *testing.T, c *caches, h *host.Host, which string) *host.Result {
			c.write(t, "body.yaml", output(which))
			return c.file(t, h, only+strings.Replace(inBody, "%s", ", cache: true", 1), host.LoadOptions{}, host.RunOptions{})
		},
		"folders that paths are relative to": func(t *testing.T, c *caches, h *host.Host, which string) *host.Result {
			c.write(t, which+"/data/f.txt", which)
			c.write(t, which+"/pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  ports: {file_storage: {adapter: local, config: {root: data, shared: true}}}\n  nodes:\n    - {kind: service_call_node, metadata: {name: q}, dependencies: [], spec: {service: file_storage, method: read, cache: true, input_mapping: {path: \"'f.txt'\"}}}\n")
			p, err := h.Load(t.Context(), c.path(which+"/pipeline.yaml"), host.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return p.Run(t.Context(), nil, host.RunOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCaches(t, "  tenant: acme\n")
			h := c.host(t)
			for _, which := range []string{"dev", "prod", "dev"} {
				r := run(t, c, h, which)
				if text := cameTo(t, r); r.Err != nil || name != "folders that paths are relative to" && !strings.Contains(text, `"`+which+`"`) || which == "prod" && len(r.Cached) > 0 {
					t.Errorf("%s: %s, cached %v, %v", which, text, r.Cached, r.Err)
				}
			}
		})
	}
}

func TestCacheOfASystem(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	h := c.host(t)
	c.write(t, "p.yaml", only+lookUp+"\n")
	for _, row := range []string{"one", "two", "one"} {
		c.write(t, "system.yaml", "kind: System\nmetadata: {name: s}\nspec:\n"+mails(row)+"  processes: [{name: p, pipeline: p.yaml}]\n")
		s, err := h.LoadSystem(t.Context(), c.path("system.yaml"), host.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := kernel.ToValue(s.Run(t.Context(), map[string]any{}, host.RunOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := kernel.EncodeJSON(v); err != nil || !strings.Contains(string(text), `"`+row+`"`) {
			t.Errorf("%s: %s, %v", row, text, err)
		}
	}
}

// An approval is for one call, and not for all that would be answered the same.
func TestCacheKeepsNoApproval(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  principal: ada
  modules:
    box: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.get, head: {key: k}}]}}}}
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"], ttl_s: 60},
        {id: looks, effect: approve, actions: [memory.get], message: "a person looks at it first", obligations: [{type: approval, by: [bob, eve]}]}]}}
`)
	h := c.host(t)
	text := only + "{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box, cache: {side_effects: true}}}\n"
	var got []engine.Status
	for range 3 {
		got = append(got, c.file(t, h, text, host.LoadOptions{}, host.RunOptions{}).Status)
		list, err := h.Approvals().List(t.Context(), host.ApprovalPending)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list[:min(len(list), max(0, 2-len(got)))] { // once
			if _, err := h.Approvals().Answer(t.Context(), a.ID, "bob", true, "once"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got[0] != engine.Suspended || got[1] != engine.Completed || got[2] != engine.Suspended {
		t.Errorf("%v", got)
	}
}

// The tools of an agent that names none are those of all services, and what they change counts.
func TestCacheOfAnAgent(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  modules:
    box: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {work: {calls: [{op: memory.set, head: {key: k, value: 1}}]}}}}
`)
	h := c.host(t)
	for range 2 {
		r := c.file(t, h, `kind: Pipeline
metadata: {name: test}
spec:
  services: {box: {module: box}}
  ports: {llm: {adapter: mock, config: {responses: ["INVOKE_TOOL: box:work()", "INVOKE_TOOL: tool_end(result='done')", "INVOKE_TOOL: box:work()", "INVOKE_TOOL: tool_end(result='done')"]}}}
  nodes:
    - {kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: hi, max_steps: 3, cache: true}}
`, host.LoadOptions{}, host.RunOptions{})
		if r.Err != nil || r.Cached["n"] != nil || r.Usage.ToolCalls == 0 {
			t.Errorf("%v, cached %v, %+v", r.Err, r.Cached["n"], r.Usage)
		}
	}
}

// What a run that a node starts changes is the node's doing.
func TestCacheOfASubRun(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  modules:
    box: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.set, head: {key: k, value: 1}}]}}}}
`)
	h := c.host(t)
	c.write(t, "sub.yaml", only+"{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}\n")
	c.w.do = func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
		p, err := h.Load(ctx, c.path("sub.yaml"), host.LoadOptions{})
		if err != nil {
			return nil, err
		}
		return "done", p.Run(ctx, nil, host.RunOptions{Parent: kernel.RunFrom(ctx)}).Err
	}
	for range 2 {
		if r := c.run(t, h, keeping("true"), nil, host.RunOptions{}); r.Cached["n"] != nil {
			t.Errorf("%v", r.Cached["n"])
		}
	}
}

// What is the run's alone is no other run's.
func TestCacheOfWhatIsTheRuns(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  modules:
    box: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: artifacts.list, head: {}}]}}}}
`)
	h := c.host(t)
	for _, cache := range []string{"true", "{side_effects: true}", "{scope: tenant}"} {
		for range 2 {
			if r := c.run(t, h, `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box, cache: `+cache+`}}`, nil, host.RunOptions{}); r.Cached["n"] != nil {
				t.Errorf("%s: %v", cache, r.Cached["n"])
			}
		}
	}
	for _, method := range []string{"service: pipeline_memory, method: get", "service: artifacts, method: list", "service: lock, method: holder"} {
		s := site{t.TempDir()}
		s.write(t, "pipeline.yaml", only+"{kind: service_call_node, metadata: {name: n}, spec: {"+method+", cache: {side_effects: true}}}\n")
		_, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodePipeline, "the run's alone", "scope: run")
	}
}

// What took a secret is no other principal's.
func TestCacheOfASecret(t *testing.T) {
	t.Setenv("SHOP_STRIPE", "sk_live_1")
	c := newCaches(t, `  tenant: acme
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    secret: {adapter: env, config: {secrets: {stripe: {from: SHOP_STRIPE, hosts: [api.example.com]}}}}
`)
	h := c.host(t)
	for cache, kept := range map[string]bool{"true": true, "{scope: tenant}": false, "{scope: tenant, side_effects: true}": false} {
		for i := range 2 {
			r := c.run(t, h, `{kind: service_call_node, metadata: {name: n}, dependencies: [], spec: {service: secret, method: get, input_mapping: {name: "'stripe'"}, cache: `+cache+`}}`, nil, host.RunOptions{})
			if (r.Cached["n"] != nil) != (kept && i > 0) {
				t.Errorf("%s: %v", cache, r.Cached["n"])
			}
		}
	}
}

// A run's own answers go with it.
func TestCacheForRunLeavesNothing(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	c.run(t, c.host(t), keeping("{scope: run}"), nil, host.RunOptions{})
	cfg, err := host.LoadConfig(newest(t, c.dir))
	if err != nil {
		t.Fatal(err)
	}
	store, err := host.OpenArtifacts(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if n := len(fileNames(t, c.path("shared/manifests"))); n > 0 {
		t.Errorf("%d artifacts are left", n)
	}
}

// asksAgain is a hook that has a node tried again until it answers well.
type asksAgain struct{}

func (asksAgain) BeforeNode(context.Context, *kernel.NodeCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (asksAgain) AfterNode(_ context.Context, _ *kernel.NodeCall, out kernel.Value, _ error) (kernel.Verdict, error) {
	if out != "good" {
		return kernel.Verdict{Action: kernel.RetryAfter, Reason: "bad", Delay: time.Millisecond}, nil
	}
	return kernel.Verdict{}, nil
}

// An answer that was not good enough is not taken again.
func TestCacheAndRetries(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	answers := []kernel.Value{"bad", "good", "never"}
	c.w.do = func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		answer := answers[0]
		answers = answers[1:]
		return answer, nil
	}
	c.hooks = []host.NodeHook{{Name: "again", Hook: asksAgain{}}}
	h := c.host(t)
	node := `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: work, max_retries: 4, retry_delay: 0.001, cache: true}}`
	for range 2 {
		if r := c.run(t, h, node, nil, host.RunOptions{}); r.NodeResults["n"] != "good" {
			t.Errorf("%v", r.NodeResults)
		}
	}
}

// Those who ask for what fails do not wait for each other.
func TestCacheOfFailuresIsNoQueue(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	const runs = 20
	var mu sync.Mutex
	working, most := 0, 0
	c.w.do = func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		mu.Lock()
		working++
		most = max(most, working)
		mu.Unlock()
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		working--
		mu.Unlock()
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: "down"}
	}
	p := c.load(t, c.host(t), keeping("true"))
	var all sync.WaitGroup
	for range runs {
		all.Go(func() { p.Run(t.Context(), nil, host.RunOptions{}) })
	}
	all.Wait()
	if most < runs/2 {
		t.Errorf("at most %d of %d worked at once", most, runs)
	}
}

// Who waits for another's answer takes nobody's place.
func TestCacheWaitersTakeNoPlace(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	release := make(chan struct{})
	c.w.do = func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
		if call.Name == "n" {
			<-release
		}
		return "done", nil
	}
	h := c.host(t)
	p := c.load(t, h, keeping("true"))
	other := c.load(t, h, strings.Replace(keeping("false"), "name: n", "name: other", 1))
	var all sync.WaitGroup
	for range 300 { // more than there are places
		all.Go(func() { p.Run(t.Context(), nil, host.RunOptions{}) })
	}
	for c.w.times.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond) // the others ask
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if r := other.Run(ctx, nil, host.RunOptions{}); r.Err != nil {
		t.Error(r.Err)
	}
	close(release)
	all.Wait()
	if c.w.times.Load() != 2 {
		t.Errorf("worked %d times", c.w.times.Load())
	}
}
