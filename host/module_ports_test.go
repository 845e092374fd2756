package host_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/memory/memstore"
	"github.com/hexdag/hexdag/host/testenv"
)

// build builds a guest's folder to NAME.wasm of the site.
func (s site) build(t *testing.T, name, dir string) {
	t.Helper()
	if err := host.BuildModule(t.Context(), dir, s.path(name+".wasm"), t.Output()); err != nil {
		t.Fatal(err)
	}
}

// player is the probe of the conformance kit, which does the steps of its
// configuration or of its arguments, with a manifest of its own.
func (s site) player(t *testing.T, name string, ops []abi.Operation, capabilities ...any) {
	t.Helper()
	testenv.NeedClang(t)
	s.build(t, "probe", "../guests/sdk/c/probe")
	wasm, err := abi.RemoveCustomSections([]byte(readFile(t, s.path("probe.wasm"))), func(name string) bool { return name == abi.ManifestSection })
	if err != nil {
		t.Fatal(err)
	}
	m := &abi.Manifest{Name: name, Version: "1.0.0", Operations: ops}
	for _, v := range append(capabilities, "clock.read", "random.read") {
		c, err := abi.ParseCapability(v)
		if err != nil {
			t.Fatal(err)
		}
		m.Capabilities = append(m.Capabilities, c)
	}
	if wasm, err = abi.EmbedManifest(wasm, m); err != nil {
		t.Fatal(err)
	}
	s.write(t, name+".wasm", string(wasm))
}

// weather is a port of two operations.
var weather = []abi.Operation{
	{Name: "weather.now", Guards: []string{"city"}, InputSchema: []byte(`{"type": "object", "required": ["city"]}`)},
	{Name: "weather.report"},
	{Name: "other.thing"},
}

const own = "clock.read, random.read"

// now asks for the weather, from a node.
const now = `{kind: service_call_node, metadata: {name: last}, dependencies: [], spec: {service: weather, method: now, strict_mapping: true, input_mapping: {city: $input.city, steps: $input.steps}}}`

func doing(t *testing.T, city, steps string) map[string]any {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(`{"city": "` + city + `", "steps": [` + steps + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

const sunny = `{"do": "set", "doc": "output", "at": "/sky", "kind": "string", "value": "blue"}`

func TestModuleIsAPort(t *testing.T) {
	s := newSite(t, `
  modules:
    asker: {path: asker.wasm, grants: [`+own+`, weather.now: {city: B*}], config: {steps: [{do: call, op: weather.now, args: [[/city, string, Bern]]}, {do: get, doc: reply, at: /sky}, {do: call, op: weather.now, args: [[/city, string, Paris]], short: true}, {do: call, op: weather.report, args: [], short: true}]}}
    sky: {path: sky.wasm, grants: [`+own+`, memory.get]}
  ports: {weather: {adapter: module, config: {module: sky}}}
`)
	s.player(t, "sky", weather, "memory.get")
	s.player(t, "asker", nil, map[string]any{"weather.now": map[string]any{"city": "**"}})
	h := s.open(t)
	got, err := s.result(t, h, doing(t, "Bern", sunny), now)
	if err != nil || got["sky"] != "blue" {
		t.Errorf("%v, %v", got, err)
	}
	_, err = s.result(t, h, doing(t, "Bern", `{"do": "fail", "code": "not_found", "reason": "no such city"}`), now)
	wantError(t, err, kernel.CodeNotFound, "module sky failed in weather.now", "no such city", "node last")
	_, err = s.result(t, h, doing(t, "Bern", `{"do": "deny", "code": "c", "reason": "not today"}`), now)
	wantError(t, err, kernel.CodeDenied, "not today")
	_, err = s.result(t, h, map[string]any{"steps": []any{}}, strings.Replace(now, "city: $input.city, ", "", 1))
	wantError(t, err, kernel.CodeArguments, "weather.now", "city")
	_, err = loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes: ["+service("last", "other.thing", "{}", "")+"]\n")
	if err == nil || !strings.Contains(err.Error(), "no operation other.thing") { // it is no port that was configured
		t.Error(err)
	}
	// A module may ask for what its grant says.
	rec := &host.Recorder{}
	if res := s.load(t, h, pull("asker")).Run(t.Context(), map[string]any{}, host.RunOptions{Recorder: rec}); res.Status != engine.Completed {
		t.Fatal(res.Err)
	}
	var seen []string
	for _, r := range s.records(t) {
		if strings.HasPrefix(r.Action, "weather.") {
			seen = append(seen, strings.Join(r.Chain, ",")+" "+r.Action+" "+r.Resource+" "+string(r.Effect))
		}
	}
	for _, want := range []string{"local weather.now Bern allow", "local,module:asker weather.now Bern allow", "local,module:asker weather.now Paris deny", "local,module:asker weather.report  deny"} {
		if !slices.Contains(seen, want) {
			t.Errorf("no record of %s in %q", want, seen)
		}
	}
}

// TestPortActsForItsCaller: what a port calls its caller has to be allowed, too, unless
// the operator says otherwise.
func TestPortActsForItsCaller(t *testing.T) {
	for own, want := range map[string]string{"": "local,module:asker,module:sky memory.set k deny", ", own_rights: true": "local,module:asker,module:sky memory.set k allow"} {
		s := newSite(t, `
  modules:
    asker: {path: asker.wasm, grants: [clock.read, random.read, weather.now], config: {steps: [{do: call, op: weather.now, args: [[/city, string, Bern]]}]}}
    sky: {path: sky.wasm, grants: [clock.read, random.read, memory.set], config: {steps: [{do: call, op: memory.set, args: [[/key, string, k], [/value, number, "1"]], short: true}]}}
  ports: {weather: {adapter: module, config: {module: sky`+own+`}}}
`)
		s.player(t, "sky", weather, "memory.set")
		s.player(t, "asker", nil, "weather.now")
		h := s.open(t)
		if res := s.load(t, h, pull("asker")).Run(t.Context(), map[string]any{}, host.RunOptions{}); res.Err != nil {
			t.Fatal(res.Err)
		}
		var seen []string
		admitted := 0
		for _, r := range s.records(t) {
			if r.Action == "module.port" {
				admitted++
			}
			if r.Action == "module.port" && (r.Resource != "weather" || r.Digest != h.Modules()[1].Digest() || r.Detail != "module sky, with "+map[bool]string{true: "its callers' rights", false: "its own rights"}[own == ""]) {
				t.Errorf("on record is %+v", r)
			}
			if r.Kind == "call" {
				seen = append(seen, strings.Join(r.Chain, ",")+" "+r.Action+" "+r.Resource+" "+string(r.Effect))
			}
		}
		if admitted != 1 {
			t.Errorf("the port is on record %d times", admitted)
		}
		if len(seen) != 2 || seen[1] != want {
			t.Errorf("%s: %q, want %s", own, seen, want)
		}
		// For a node it is the port's own right, and reaches the operator's ports: a pipeline's are not in its way.
		s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {memory: {adapter: memory}}\n  nodes: ["+now+"]\n")
		p, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if res := p.Run(t.Context(), doing(t, "Bern", ""), host.RunOptions{}); res.Err != nil {
			t.Fatal(res.Err)
		}
		if got, err := s.result(t, h, nil, service("last", "memory.get", "{key: \"'k'\"}", "")); err != nil || got["found"] != true {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// TestMemoryIsAModule: a port of the host's own over a module that is over another adapter.
func TestMemoryIsAModule(t *testing.T) {
	if testing.Short() {
		t.Skip("a Go guest is compiled")
	}
	s := newSite(t, `
  modules:
    cabinet: {path: cabinet.wasm, grants: [memory.get: {key: cabinet/*}, memory.compare_and_swap: {key: cabinet/*}]}
  ports: {memory: {adapter: module, config: {module: cabinet, over: {adapter: sqlite, config: {path: below.db}}, max_keys: 2}}}
`)
	s.build(t, "cabinet", "../guests/cabinet")
	for round := range 2 { // the second finds what the first kept
		h := s.open(t)
		got, err := s.result(t, h, nil, service("last", "memory.get", recall, ""))
		if err != nil || got["found"] != (round == 1) {
			t.Errorf("%v, %v", got, err)
		}
		if _, err := s.result(t, h, map[string]any{"n": 1}, service("last", "memory.set", remember, "")); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	h := s.open(t)
	if got, err := s.result(t, h, nil, service("last", "memory.list_keys", "{prefix: \"''\"}", "")); err != nil || len(got["keys"].([]any)) != 1 {
		t.Errorf("%v, %v", got, err) // and not the key of the cabinet
	}
	if _, err := s.result(t, h, 1, service("last", "memory.set", "{key: \"'l'\", value: $input}", "")); err != nil {
		t.Error(err)
	}
	_, err := s.result(t, h, 1, service("last", "memory.set", "{key: \"'m'\", value: $input}", ""))
	wantError(t, err, kernel.CodeLimit, "2 keys (max_keys)")
	// The states of entities are kept elsewhere, and need no room in it.
	entity := "{entity: \"'order'\", entity_id: \"'1'\"}"
	if _, err := s.result(t, h, nil, service("last", "entity_state.register", entity, "")); err != nil {
		t.Error(err)
	}
}

// TestModelIsAModule: what a model below was paid is charged once, whatever the module reports.
func TestModelIsAModule(t *testing.T) {
	testenv.NeedClang(t)
	for config, tokens := range map[string]int64{"": 0, ", config: {usage: {input_tokens: 0, output_tokens: 0}}": 0, ", config: {usage: {input_tokens: 1000, output_tokens: 1}}": 1000} {
		s := newSite(t, "  modules: {relay: {path: relay.wasm, grants: [llm.complete]"+config+"}}\n  ports: {llm: {adapter: module, config: {module: relay, over: {adapter: mock, config: {responses: [hello]}}}}}\n")
		s.build(t, "relay", "testdata/relay")
		plain := newSite(t, "  ports: {llm: {adapter: mock, config: {responses: [hello]}}}\n")
		usage := func(s site) kernel.UsageSnapshot {
			rec := &host.Recorder{}
			res := s.load(t, s.open(t), strings.TrimPrefix(strings.TrimSpace(ask("last", "")), "- ")).Run(t.Context(), nil, host.RunOptions{Recorder: rec})
			if res.Err != nil || res.NodeResults["last"] != "hello" {
				t.Fatalf("%v, %v", res.NodeResults, res.Err)
			}
			return res.Usage
		}
		got, want := usage(s), usage(plain)
		if tokens > 0 {
			want.InputTokens = tokens
			want.LLMCalls = 2 // the module says that it used more than the model below
		}
		want.PortCalls++
		if got != want {
			t.Errorf("%s: %+v, want %+v", config, got, want)
		}
	}
}

func TestPipelinesPortIsAModule(t *testing.T) {
	s := newSite(t, "  modules: {sky: {path: sky.wasm, grants: ["+own+", memory.get]}}\n")
	s.player(t, "sky", weather, "memory.get")
	h := s.open(t)
	head := "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {weather: {adapter: module, config: "
	s.write(t, "pipeline.yaml", head+"{module: sky}}}\n  nodes: ["+now+"]\n")
	p, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	res := p.Run(t.Context(), doing(t, "Bern", sunny), host.RunOptions{})
	if value, _ := res.NodeResults["last"].(map[string]any); res.Err != nil || value["sky"] != "blue" {
		t.Errorf("%v, %v", res.NodeResults, res.Err)
	}
	_, err = loadBad(t, h, head+"{module: sky, own_rights: true}}}\n  nodes: ["+now+"]\n")
	wantError(t, err, kernel.CodeConfig, "a pipeline cannot give a module rights of its own", "pipeline.yaml:4")
	_, err = loadBad(t, h, head+"{module: skye}}}\n  nodes: ["+now+"]\n")
	wantError(t, err, kernel.CodeModuleNotFound, "there is no module skye", "did you mean sky?")
	_, err = loadBad(t, h, "kind: Pipeline\nmetadata: {name: t}\nspec:\n  ports: {llm: {adapter: module, config: {module: sky}}}\n  nodes: ["+now+"]\n")
	wantError(t, err, kernel.CodeModuleExport, "module sky cannot be port llm", "does not describe llm.complete", "weather.now")
}

func TestModulePortRefuses(t *testing.T) {
	s := newSite(t, "")
	s.player(t, "sky", weather, "memory.get")
	s.write(t, "mute.wasm", mute)
	if err := os.Rename(s.path("sky.wasm"), s.path("sky2.wasm")); err != nil {
		t.Fatal(err)
	}
	modules := "  modules:\n    sky: {path: sky2.wasm, grants: [" + own + ", memory.get]}\n    mute: {path: mute.wasm}\n    gone: {path: gone.wasm}\n"
	for ports, want := range map[string]struct {
		code kernel.Code
		says []string
	}{
		"{weather: {adapter: module, config: {module: skyy}}}":                                  {kernel.CodeModuleNotFound, []string{"no module skyy", "did you mean sky?", "hexdag.yaml:"}},
		"{memory: {adapter: module, config: {module: skyy}}}":                                   {kernel.CodeModuleNotFound, []string{"no module skyy", "port memory is to be one", "hexdag.yaml:"}},
		"{whether: {adapter: module, config: {module: sky}}}":                                   {kernel.CodeConfig, []string{"module sky implements no port whether", "weather.now, weather.report, other.thing"}},
		"{memory: {adapter: module, config: {module: sky}}}":                                    {kernel.CodeModuleExport, []string{"does not describe memory.get, memory.set"}},
		"{llm: {adapter: module, config: {module: mute}}}":                                      {kernel.CodeModuleExport, []string{"module mute cannot be port llm", "exports no port_call"}},
		"{weather: {adapter: module, config: {module: mute}}}":                                  {kernel.CodeConfig, []string{"implements no port weather", "none"}},
		"{weather: {adapter: module, config: {module: gone}}}":                                  {kernel.CodeModuleNotFound, []string{"gone.wasm"}},
		"{database: {adapter: module, config: {module: sky}}}":                                  {kernel.CodeConfig, []string{"port database cannot be a module", "memory, llm and ports of names of their own"}},
		"{metrics: {adapter: module, config: {module: sky}}}":                                   {kernel.CodeConfig, []string{"port metrics cannot be a module"}},
		"{clock: {adapter: module, config: {module: sky}}}":                                     {kernel.CodeConfig, []string{"port clock cannot be a module"}},
		"{weather: {adapter: module, config: {modul: sky}}}":                                    {kernel.CodeConfig, []string{"modul", "own_rights"}},
		"{weather: {adapter: module, config: {module: sky, max_keys: 3}}}":                      {kernel.CodeConfig, []string{"are the memory port's"}},
		"{memory: {adapter: module, config: {module: sky, max_keys: -3}}}":                      {kernel.CodeConfig, []string{"limits cannot be used"}},
		"{weather: {adapter: module, config: {module: sky, over: {adapter: sqlite}}}}":          {kernel.CodeConfig, []string{"there is no port weather"}},
		"{llm: {adapter: module, config: {module: sky, over: {adapter: nobodys, config: {}}}}}": {kernel.CodeConfig, []string{"port llm has no adapter nobodys", "module"}},
		"{wether: {adapter: mock}}":                                                             {kernel.CodeConfig, []string{"there is no port wether", "adapter: module"}},
	} {
		rest := modules
		if !strings.Contains(ports, "gone") {
			rest = strings.Replace(rest, "    gone: {path: gone.wasm}\n", "", 1)
		}
		s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n"+rest+"  ports: "+ports+"\n")
		h, err := s.new(t)
		if err == nil {
			_ = h.Close(t.Context())
		}
		wantError(t, err, want.code, want.says...)
	}
}

// TestPortsInGo: an embedding program brings ports of its own, which the door is before.
func TestPortsInGo(t *testing.T) {
	s := newSite(t, `
  modules: {asker: {path: asker.wasm, grants: [`+own+`, weather.now: {city: Bern}], config: {steps: [{do: call, op: weather.now, args: [[/city, string, Bern]]}, {do: call, op: weather.now, args: [[/city, string, Paris]], short: true}]}}}
`)
	s.player(t, "asker", nil, "weather.now")
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	opts := host.Options{
		Ports: []host.PortOp{{Name: "weather.now", Guards: []string{"city"}, Func: func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			asked = append(asked, strings.Join(call.Caller.Chain(), ",")+" "+call.Args["city"].(string))
			return &kernel.PortReply{Value: map[string]any{"sky": "blue"}}, nil
		}}},
		Memory: memstore.New(),
	}
	h, err := host.New(t.Context(), cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	if res := s.load(t, h, pull("asker")).Run(t.Context(), map[string]any{}, host.RunOptions{}); res.Err != nil {
		t.Fatal(res.Err)
	}
	if got, err := s.result(t, h, map[string]any{"city": "Paris"}, strings.Replace(now, ", steps: $input.steps", "", 1)); err != nil || got["sky"] != "blue" {
		t.Errorf("%v, %v", got, err)
	}
	if got := strings.Join(asked, "; "); got != "local,module:asker Bern; local Paris" {
		t.Errorf("asked %s", got)
	}
	if _, err := s.result(t, h, 1, service("last", "memory.set", remember, "")); err != nil {
		t.Error(err)
	}
	if _, found, err := opts.Memory.Get(t.Context(), time.Now(), "default", "k"); err != nil || !found {
		t.Errorf("the program's memory has no k: %v", err)
	}
	for _, bad := range []host.Options{
		{Ports: []host.PortOp{{Name: "memory.get"}}}, {Ports: []host.PortOp{{Name: "governance.authorize"}}}, {Ports: []host.PortOp{{Name: "llm.complete"}}}, {Memory: memstore.New()},
	} {
		s := newSite(t, "  ports: {llm: {adapter: mock}, data_store: {adapter: memory}}\n")
		cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = host.New(t.Context(), cfg, bad)
		wantError(t, err, kernel.CodeConfig)
	}
}
