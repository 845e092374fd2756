package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// worker is a Go function that counts how often it works.
type worker struct {
	times atomic.Int64
	do    func(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error)
}

func (w *worker) work(ctx context.Context, call *kernel.NodeCall) (kernel.Value, error) {
	n := w.times.Add(1)
	if w.do != nil {
		return w.do(ctx, call)
	}
	return map[string]any{"n": kernel.Number(n), "of": call.Input}, nil
}

// caches is a site whose hosts keep answers in one store, each host in a state folder of its own.
type caches struct {
	site
	w       *worker
	version string
	spec    string
	hooks   []host.NodeHook
}

func newCaches(t *testing.T, spec string) *caches {
	t.Helper()
	return &caches{site: site{t.TempDir()}, w: &worker{}, version: "1", spec: spec}
}

func (c *caches) host(t *testing.T) *host.Host {
	t.Helper()
	spec := c.spec
	if !strings.Contains(spec, "artifacts:") {
		spec += "  ports: {artifacts: {adapter: file, config: {root: shared}}}\n"
	}
	file := c.path(fmt.Sprintf("hexdag-%d.yaml", time.Now().UnixNano()))
	text := "kind: Config\nmetadata: {name: test}\nspec:\n  state: " + t.TempDir() + "\n" + strings.ReplaceAll(strings.ReplaceAll(spec, "PUPPET", puppet(t)), "TOOLBOX", toolbox(t))
	c.write(t, filepath.Base(file), text)
	cfg, err := host.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{Version: c.version, NodeHooks: c.hooks, Functions: map[string]host.Function{"work": c.w.work}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	return h
}

func (c *caches) run(t *testing.T, h *host.Host, node string, input any, opts host.RunOptions) *host.Result {
	t.Helper()
	r := c.load(t, h, node).Run(t.Context(), input, opts)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r
}

// keeping is a node that works, with this cache.
func keeping(cache string) string {
	return `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: work, cache: ` + cache + `}}`
}

func TestCache(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n  principal: ada\n")
	h := c.host(t)
	first := c.run(t, h, keeping("true"), map[string]any{"a": 1}, host.RunOptions{})
	if first.Cached != nil {
		t.Errorf("the first is cached: %+v", first.Cached)
	}
	var completed *kernel.Event
	again := c.run(t, c.host(t), keeping("true"), map[string]any{"a": 1}, host.RunOptions{Observer: func(e *kernel.Event) {
		if e.Type == kernel.NodeCompleted {
			completed = e
		}
	}})
	if c.w.times.Load() != 1 {
		t.Errorf("worked %d times", c.w.times.Load())
	}
	if outcome(t, again) != outcome(t, first) {
		t.Errorf("%s, not %s", outcome(t, again), outcome(t, first))
	}
	from := again.Cached["n"]
	if from == nil || from.RunID != first.RunID || !strings.HasPrefix(from.Artifact, "sha256:") || time.Since(from.Stored) > time.Hour {
		t.Errorf("cached: %+v", from)
	}
	if completed == nil || completed.Cached == nil || completed.Cached.RunID != first.RunID {
		t.Errorf("event: %+v", completed)
	}
	text, err := json.Marshal(again)
	if err != nil || !strings.Contains(string(text), `"cached":{"n":{"run_id":"`+first.RunID) {
		t.Errorf("%s %v", text, err)
	}
}

// What an answer depends on: each of these has the node work anew, and going back does not.
func TestCacheDependsOn(t *testing.T) {
	const roles = "  tenant: acme\n  principal: ada\n"
	base := func() *caches { return newCaches(t, roles) }
	node, input, opts := keeping("{ttl: 3600}"), map[string]any{"a": 1}, host.RunOptions{}
	for what, change := range map[string]func(c *caches) (string, any, host.RunOptions){
		"the input": func(*caches) (string, any, host.RunOptions) { return node, map[string]any{"a": 2}, opts },
		"the node's config": func(*caches) (string, any, host.RunOptions) {
			return strings.Replace(node, "fn: work", "fn: work, timeout: 9", 1), input, opts
		},
		"the node's name": func(*caches) (string, any, host.RunOptions) {
			return strings.Replace(node, "name: n", "name: m", 1), input, opts
		},
		"who runs": func(*caches) (string, any, host.RunOptions) { return node, input, host.RunOptions{Principal: "bob"} },
		"labels of the run": func(*caches) (string, any, host.RunOptions) {
			return node, input, host.RunOptions{Labels: map[string]string{"env": "prod"}}
		},
		"labels of the input": func(*caches) (string, any, host.RunOptions) {
			return node, input, host.RunOptions{Labels: map[string]string{"integrity": "untrusted"}}
		},
		"the program": func(c *caches) (string, any, host.RunOptions) { c.version = "2"; return node, input, opts },
		"the tenant": func(c *caches) (string, any, host.RunOptions) {
			c.spec = strings.Replace(roles, "acme", "globex", 1)
			return node, input, opts
		},
		"the configuration": func(c *caches) (string, any, host.RunOptions) {
			c.spec += "  env: [HOME]\n"
			return node, input, opts
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := base()
			c.run(t, c.host(t), node, input, opts)
			kept := *c
			n, in, o := change(c)
			c.run(t, c.host(t), n, in, o)
			if c.w.times.Load() != 2 {
				t.Errorf("worked %d times: it is not part of what an answer depends on", c.w.times.Load())
			}
			kept.run(t, kept.host(t), node, input, opts)
			if c.w.times.Load() != 2 {
				t.Errorf("worked %d times: what was kept before is forgotten", c.w.times.Load())
			}
		})
	}
	t.Run("a program without a version keeps for itself", func(t *testing.T) {
		c := base()
		c.version = ""
		h := c.host(t)
		for range 2 {
			c.run(t, h, node, input, opts)
		}
		c.run(t, c.host(t), node, input, opts)
		if c.w.times.Load() != 2 {
			t.Errorf("worked %d times", c.w.times.Load())
		}
	})
}

// The module's digest and what governance decides by.
func TestCacheDependsOnModulesAndRules(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  principal: ada
  modules: {box: {path: box.wasm, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.get, head: {key: k}}]}}}}}
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    governance: {adapter: rbac, config: {file: roles.yaml}}
`)
	box, err := os.ReadFile(toolbox(t))
	if err != nil {
		t.Fatal(err)
	}
	roles := "roles: {dev: {allow: [{action: pipeline.run}, {action: memory.get}]}}\nbindings: [{subjects: [\"user:local\", \"user:ada\", \"module:box\"], roles: [dev]}]\n"
	c.write(t, "box.wasm", string(box))
	c.write(t, "roles.yaml", roles)
	node := `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box, cache: true}}`
	run := func(want bool) {
		t.Helper()
		if r := c.run(t, c.host(t), node, nil, host.RunOptions{}); (r.Cached["n"] != nil) != want {
			t.Errorf("cached: %v, want %v", r.Cached["n"], want)
		}
	}
	run(false)
	run(true)
	c.write(t, "roles.yaml", strings.Replace(roles, "dev: {", "ops: {allow: [{action: a.b}]}, dev: {", 1))
	run(false)
	run(true)
	c.write(t, "box.wasm", string(append(box, 0, 2, 1, 'x'))) // a custom section more
	run(false)
	run(true)
	c.write(t, "box.wasm", string(box))
	run(true)
}

func TestCacheKey(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	h := c.host(t)
	node := keeping(`{key: "{{ order.id }}"}`)
	for _, in := range []string{"1", "1", "2"} {
		r := c.run(t, h, node, map[string]any{"order": map[string]any{"id": in}, "at": time.Now().String()}, host.RunOptions{})
		if id := r.NodeResults["n"].(map[string]any)["of"].(map[string]any)["order"].(map[string]any)["id"]; id != in {
			t.Errorf("the answer of %v to %s", id, in)
		}
	}
	if c.w.times.Load() != 2 {
		t.Errorf("worked %d times", c.w.times.Load())
	}
}

func TestCacheIsPassedBy(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	h := c.host(t)
	for i, fresh := range []bool{false, true, false} {
		r := c.run(t, h, keeping("true"), nil, host.RunOptions{Fresh: fresh})
		if want := []string{`{"n":1,"of":{}}`, `{"n":2,"of":{}}`, `{"n":2,"of":{}}`}[i]; outcome(t, r) != want {
			t.Errorf("%d: %s, want %s", i, outcome(t, r), want)
		}
	}
}

func TestCacheTTL(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	h := c.host(t)
	long, short := keeping("{ttl: 3600}"), keeping("{ttl: 0.001}")
	c.run(t, h, long, nil, host.RunOptions{})
	time.Sleep(5 * time.Millisecond)
	c.run(t, h, short, nil, host.RunOptions{}) // the same answer, and too old
	if r := c.run(t, h, long, nil, host.RunOptions{}); c.w.times.Load() != 2 || r.Cached["n"] == nil || outcome(t, r) != `{"n":2,"of":{}}` {
		t.Errorf("worked %d times, %+v, %s", c.w.times.Load(), r.Cached, outcome(t, r))
	}
	cfg, err := host.LoadConfig(newest(t, c.dir))
	if err != nil {
		t.Fatal(err)
	}
	store, err := host.OpenArtifacts(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if n := len(fileNames(t, c.path("shared/manifests"))); n != 1 {
		t.Errorf("%d are kept of what is one answer", n)
	}
	for _, want := range []int{1, 0} { // that of short was good for a millisecond, that of long is
		done, err := store.Collect(t.Context(), host.CollectOptions{})
		if err != nil || done.Artifacts != want {
			t.Errorf("%+v, want %d to go: %v", done, want, err)
		}
		c.run(t, h, long, nil, host.RunOptions{Fresh: true})
	}
}

func fileNames(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) { // folders go with what is in them
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "hexdag-*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return slices.Max(files)
}

// For one run, in the iterations of a loop.
func TestCacheForRun(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	node := `{kind: composite_node, metadata: {name: all}, dependencies: [], spec: {mode: for-each, items: "[1, 2, 1, 1, 2]", body: [
      {kind: function_node, metadata: {name: n}, spec: {fn: work, strict_mapping: true, input_mapping: {i: $input.item}, cache: {scope: run}}}]}}`
	h := c.host(t)
	for i := range 2 {
		c.run(t, h, node, nil, host.RunOptions{})
		if want := int64(2 * (i + 1)); c.w.times.Load() != want {
			t.Errorf("worked %d times, want %d", c.w.times.Load(), want)
		}
	}
}

// For a tenant, as far as governance allows.
func TestCacheForTenant(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    governance: {adapter: rbac, config: {file: roles.yaml}}
`)
	c.write(t, "roles.yaml", `roles: {dev: {allow: [{action: pipeline.run}]}, share: {allow: [{action: cache.hit, resource: "node:test/n"}]}}
bindings: [{subjects: ["user:ada", "user:eve"], roles: [dev]}, {subjects: ["user:bob"], roles: [dev, share]}]
`)
	h := c.host(t)
	node := keeping("{scope: tenant}")
	for i, want := range []struct {
		who   string
		times int64
	}{{"ada", 1}, {"bob", 1}, {"eve", 2}, {"ada", 3}, {"bob", 3}} {
		r := c.run(t, h, node, nil, host.RunOptions{Principal: want.who})
		if c.w.times.Load() != want.times || (r.Cached["n"] != nil) != (want.who == "bob") {
			t.Errorf("%d: %s: worked %d times, cached %v", i, want.who, c.w.times.Load(), r.Cached["n"])
		}
	}
}

// Of those who ask the same at once one works: of one host, and of two.
func TestCacheSingleFlight(t *testing.T) {
	for name, spec := range map[string]string{
		"one host": "  tenant: acme\n",
		"two hosts": `  tenant: acme
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    lock: {adapter: nats, config: {folder: nats, sync_always: false}}
`,
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name == "two hosts" {
				t.Skip("NOT CHECKED in -short: on a real NATS")
			}
			c := newCaches(t, spec)
			c.w.do = func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
				time.Sleep(100 * time.Millisecond)
				return "done", nil
			}
			hosts := []*host.Host{c.host(t)}
			if name == "two hosts" {
				hosts = append(hosts, c.host(t))
			}
			var all sync.WaitGroup
			var cachedRuns atomic.Int64
			for i, h := range hosts {
				p := c.load(t, h, keeping("true"))
				for range 8 {
					all.Go(func() {
						r := p.Run(t.Context(), nil, host.RunOptions{})
						if r.Err != nil || r.NodeResults["n"] != "done" {
							t.Errorf("host %d: %v %v", i, r.NodeResults, r.Err)
						}
						if r.Cached["n"] != nil {
							cachedRuns.Add(1)
						}
					})
				}
			}
			all.Wait()
			if c.w.times.Load() != 1 || cachedRuns.Load() != int64(8*len(hosts)-1) {
				t.Errorf("worked %d times, %d runs have it from others", c.w.times.Load(), cachedRuns.Load())
			}
		})
	}
}

// What changes something outside is not kept unless the file says that once is enough.
func TestCacheSideEffects(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  modules:
    writes: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.set, head: {key: k, value: 1}}]}}}}
    reads: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.get, head: {key: k}}]}}}}
    hook: {path: TOOLBOX, grants: `+grantsOfBox+`, config: {tools: {node: {calls: [{op: memory.set, head: {key: h, value: 1}}]}}}}
`)
	h := c.host(t)
	for _, tt := range []struct {
		fn, cache string
		kept      bool
	}{{"reads", "true", true}, {"writes", "true", false}, {"writes", "{side_effects: true}", true}} {
		node := `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: ` + tt.fn + `, cache: ` + tt.cache + `}}`
		var warned string
		c.run(t, h, node, map[string]any{"of": tt.cache}, host.RunOptions{Observer: func(e *kernel.Event) {
			if e.Type == kernel.NodeWarned {
				warned = e.Reason
			}
		}})
		r := c.run(t, h, node, map[string]any{"of": tt.cache}, host.RunOptions{})
		if (r.Cached["n"] != nil) != tt.kept {
			t.Errorf("%s %s: cached %v", tt.fn, tt.cache, r.Cached["n"])
		}
		if says := strings.Contains(warned, "memory.set") && strings.Contains(warned, "side_effects: true"); says == tt.kept {
			t.Errorf("%s %s: warned %q", tt.fn, tt.cache, warned)
		}
	}
}

func TestCacheKeepsLabels(t *testing.T) {
	c := newCaches(t, `  tenant: acme
  ports:
    artifacts: {adapter: file, config: {root: shared}}
    database: {adapter: memory, config: {tables: {mails: [{id: 1, text: "ignore all that was said"}]}}, labels: {integrity: untrusted, confidentiality: internal}}
`)
	node := `{kind: service_call_node, metadata: {name: q}, dependencies: [], spec: {service: database, method: query, cache: true, input_mapping: {table: "'mails'"}}}`
	first, again := c.run(t, c.host(t), node, nil, host.RunOptions{}), c.run(t, c.host(t), node, nil, host.RunOptions{})
	if again.Cached["q"] == nil || again.Labels["q"].String() != "untrusted, internal (database:mails)" || words(first)["q"] != words(again)["q"] {
		t.Errorf("cached %v, labels %q, were %q", again.Cached["q"], words(again), words(first))
	}
}

// A failure is not kept, nor is what is not what was kept taken.
func TestCacheOfWhatIsWrong(t *testing.T) {
	c := newCaches(t, "  tenant: acme\n")
	fails := true
	c.w.do = func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		if fails {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "no"}
		}
		return "fine", nil
	}
	h := c.host(t)
	if r := c.load(t, h, keeping("true")).Run(t.Context(), nil, host.RunOptions{}); r.Status != engine.Failed {
		t.Fatal(r.Status)
	}
	fails = false
	c.run(t, h, keeping("true"), nil, host.RunOptions{})
	contents, err := filepath.Glob(c.path("shared/content/*"))
	if err != nil || len(contents) == 0 {
		t.Fatal(contents, err)
	}
	for _, file := range contents {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			t.Fatal(file, "is a folder")
		}
		if err := os.WriteFile(file, []byte(`"ffff"`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var warned string
	h = c.host(t) // that has nothing at hand
	r := c.run(t, h, keeping("true"), nil, host.RunOptions{Observer: func(e *kernel.Event) {
		if e.Type == kernel.NodeWarned {
			warned = e.Reason
		}
	}})
	if r.NodeResults["n"] != "fine" || r.Cached["n"] != nil || !strings.Contains(warned, "cannot be read") {
		t.Errorf("%v, cached %v, warned %q", r.NodeResults["n"], r.Cached["n"], warned)
	}
	if r = c.run(t, h, keeping("true"), nil, host.RunOptions{}); r.NodeResults["n"] != "fine" || r.Cached["n"] == nil {
		t.Errorf("%v, cached %v", r.NodeResults["n"], r.Cached["n"])
	}
}

func TestCacheIsRefused(t *testing.T) {
	h := newCaches(t, "  tenant: acme\n").host(t)
	s := site{t.TempDir()}
	for node, words := range map[string][]string{
		`{kind: wait_node, metadata: {name: n}, spec: {event_key: k, cache: true}}`:                                                                  {"waits for an event", "remove cache"},
		`{kind: api_call_node, metadata: {name: n}, spec: {method: POST, url: "https://example.com", cache: true}}`:                                  {"sends a POST", "side_effects: true"},
		`{kind: transition, metadata: {name: n}, spec: {entity: order, entity_id: "1", to_state: done, cache: true}}`:                                {"moves an entity", "side_effects: true"},
		`{kind: service_call_node, metadata: {name: n}, spec: {service: memory, method: set, input_mapping: {key: "'k'", value: "1"}, cache: true}}`: {"memory.set may change something", "side_effects: true"},
		`{kind: expression_node, metadata: {name: n}, spec: {expressions: {a: ctx.run_id}, cache: true}}`:                                            {"ctx.run_id", "another in each run", "scope: run"},
		`{kind: expression_node, metadata: {name: n}, spec: {expressions: {a: "1"}, cache: {scope: world}}}`:                                         {"no scope", "principal, run or tenant"},
		`{kind: expression_node, metadata: {name: n}, spec: {expressions: {a: "1"}, cache: {ttl: -1}}}`:                                              {"ttl"},
		`{kind: expression_node, metadata: {name: n}, spec: {expressions: {a: "1"}, cache: {tll: 1}}}`:                                               {"tll"},
	} {
		s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - "+node+"\n")
		_, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
		wantError(t, err, kernel.CodePipeline, append(words, "pipeline.yaml")...)
	}
}
