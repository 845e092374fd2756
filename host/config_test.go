package host_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// The guests that are checked in are what their sources build.
func TestGuestsAreBuiltFromSource(t *testing.T) {
	testenv.NeedClang(t)
	for dir, file := range map[string]string{"testdata/puppet": puppet(t), "testdata/watcher": filepath.Join("testdata", "watcher", "watcher.wasm"), "enforcement/toolbox": toolbox(t)} {
		built := filepath.Join(t.TempDir(), "built.wasm")
		if err := host.BuildModule(t.Context(), dir, built, t.Output()); err != nil {
			t.Fatal(err)
		}
		want, err1 := os.ReadFile(built)
		got, err2 := os.ReadFile(file)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if string(got) != string(want) {
			t.Errorf("run hexdag build host/%s", dir)
		}
	}
}

// What is written by hand is small enough to read.
const (
	component = "\x00asm\x0d\x00\x01\x00"
	// (module (import "env" "\1b[31mhack" (func)) (memory (export "memory") 1))
	foreign = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x02\x11\x01\x03env\x09\x1b[31mhack\x00\x00" + "\x05\x03\x01\x00\x01" + "\x07\x0a\x01\x06memory\x02\x00"
	// (module (import "hexdag_v1" "log" (func)) (memory (export "memory") 1)): another signature
	misfit = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x02\x11\x01\x09hexdag_v1\x03log\x00\x00" + "\x05\x03\x01\x00\x01" + "\x07\x0a\x01\x06memory\x02\x00"
	// (module (memory (export "memory") 1)): nothing that a hook or a node could be
	mute = "\x00asm\x01\x00\x00\x00" + "\x05\x03\x01\x00\x01" + "\x07\x0a\x01\x06memory\x02\x00"
	// (module (memory (export "memory") 2000)): 125 MiB
	fat = "\x00asm\x01\x00\x00\x00" + "\x05\x04\x01\x00\xd0\x0f" + "\x07\x0a\x01\x06memory\x02\x00"
)

func modules(lines string) string {
	return "  ports: {database: {adapter: memory, config: {tables: {orders: [{id: A-1}]}}}}\n  modules:\n" + lines
}

func TestNewRefuses(t *testing.T) {
	const granted = "grants: [{metrics.count: {name: good}}, {database.query: {table: orders}}]"
	for name, test := range map[string]struct {
		spec  string
		code  kernel.Code
		words []string
	}{
		"missing module": {modules("    a: {path: no.wasm}\n"), kernel.CodeModuleNotFound, []string{"no.wasm", "module a", "hexdag build"}},
		"folder":         {modules("    a: {path: bad}\n"), kernel.CodeModuleNotFound, []string{"/bad", "module a", "not a file"}},
		"component":      {modules("    a: {path: bad/component.wasm}\n"), kernel.CodeModuleComponent, []string{"component.wasm", "module a@", "core module", "wasip1"}},
		"no wasm":        {modules("    a: {path: hexdag.yaml}\n"), kernel.CodeModuleInvalid, []string{"hexdag.yaml", "not a WebAssembly module"}},
		"cut off":        {modules("    a: {path: bad/cut.wasm}\n"), kernel.CodeModuleInvalid, []string{"cut.wasm", "module a@"}},
		"foreign import": {modules("    a: {path: bad/foreign.wasm}\n"), kernel.CodeModuleImport, []string{"foreign.wasm", "module a@", `imports env.\x1b[31mhack`, "hexdag_v1"}},
		"signature":      {modules("    a: {path: bad/misfit.wasm}\n"), kernel.CodeModuleImport, []string{"module a@", "hexdag_v1.log", "() -> ()", "(i32, i32, i32) -> (i32)"}},
		"no grant":       {modules("    a: {path: PUPPET}\n"), kernel.CodeModuleGrant, []string{"puppet.wasm", "module a@", "add under grants of the module: - metrics.count", "database.query"}},
		"one grant of two": {modules("    a: {path: PUPPET, grants: [{metrics.count: {name: good}}]}\n"), kernel.CodeModuleGrant,
			[]string{"module a@", `- database.query: {table: "orders"}`}},
		"pinned": {modules("    a: {path: PUPPET, digest: 'sha256:00', " + granted + "}\n"), kernel.CodeModuleInvalid, []string{"module a@", "the configuration pins sha256:00", "its digest is sha256:"}},
		"no such operation": {modules("    a: {path: PUPPET, grants: [database.drop]}\n"), kernel.CodeConfig,
			[]string{"module a@", "there is no operation database.drop", "database.query"}},
		"argument that is no guard": {modules("    a: {path: PUPPET, grants: [{metrics.count: {delta: 1}}]}\n"), kernel.CodeConfig, []string{"hexdag.yaml:6:"}},
		"guard that there is not":   {modules("    a: {path: PUPPET, grants: [{metrics.count: {counter: good}}]}\n"), kernel.CodeConfig, []string{"module a@", "counter", "correct the grant"}},
		"no grant at all":           {modules("    a: {path: PUPPET, grants: [7]}\n"), kernel.CodeConfig, []string{"hexdag.yaml:6:", "no grant"}},
		"memory":                    {modules("    a: {path: bad/fat.wasm, limits: {memory: 65536}}\n"), kernel.CodeLimit, []string{"fat.wasm", "module a@", "memory", "2000", "the limit is 1"}},
		"hook without exports":      {modules("    a: {path: bad/mute.wasm}\n") + "  hooks: [{module: a}]\n", kernel.CodeModuleExport, []string{"module a@", "node_before"}},
		"port hook without exports": {modules("    a: {path: PUPPET, "+granted+"}\n") + "  hooks: [{module: a, ops: ['llm.*']}]\n", kernel.CodeModuleExport, []string{"module a@", "port_before"}},
		"hook of no module":         {"  hooks: [{module: b}]\n", kernel.CodeConfig, []string{"hexdag.yaml:4:", "no module b"}},
		"unknown adapter":           {"  ports:\n    llm: {adapter: oracle}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "no adapter oracle", "mock", "openai"}},
		"unknown port":              {"  ports:\n    lmm: {adapter: mock}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "no port lmm", "llm"}},
		"unknown governance":        {"  ports:\n    governance: {adapter: trust_me}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "no adapter trust_me", "rego"}},
		"adapter's configuration":   {"  ports:\n    llm: {adapter: mock, config: {answers: [x]}}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "answers"}},
		"no policy":                 {"  ports:\n    governance: {adapter: rego}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "dirs"}},
		"policy that does not compile": {"  ports:\n    governance: {adapter: rego, config: {dirs: [bad/policy]}}\n", kernel.CodePolicy,
			[]string{"authz.rego:3", "no_such_function"}},
		"policy without its entrypoint": {"  ports:\n    governance: {adapter: rego, config: {dirs: [bad/other]}}\n", kernel.CodePolicy, []string{"entrypoint"}},
		"no policy file":                {"  ports:\n    governance: {adapter: rego, config: {file: no.tar.gz}}\n", kernel.CodePolicy, []string{"no.tar.gz"}},
		"state":                         {"  state: hexdag.yaml/state\n", kernel.CodeConfig, []string{"hexdag.yaml", "spec.state", "not a directory"}},
		"database's seed":               {"  ports:\n    database: {adapter: sqlite, config: {path: ':memory:', seed: no.sql}}\n", kernel.CodeConfig, []string{"hexdag.yaml:5:", "no.sql"}},
		"misspelt":                      {"  modlues: {}\n", kernel.CodeConfig, []string{"hexdag.yaml:4:", "modlues", "modules"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, test.spec)
			s.write(t, "bad/component.wasm", component)
			s.write(t, "bad/foreign.wasm", foreign)
			s.write(t, "bad/misfit.wasm", misfit)
			s.write(t, "bad/mute.wasm", mute)
			s.write(t, "bad/fat.wasm", fat)
			s.write(t, "bad/cut.wasm", mute[:15])
			s.write(t, "bad/policy/authz.rego", "package hexdag.authz\n\ndecision := no_such_function(input)\n")
			s.write(t, "bad/other/other.rego", "package other\n\n# METADATA\n# entrypoint: true\nx := 1\n")
			h, err := s.new(t)
			if err == nil {
				t.Fatal("no error", h.Close(t.Context()))
			}
			wantError(t, err, test.code, test.words...)
			if strings.Contains(err.Error(), "\x1b") {
				t.Errorf("an escape sequence of the guest's: %q", err)
			}
		})
	}
}

// All that is wrong is said at once.
func TestNewSaysEverything(t *testing.T) {
	s := newSite(t, modules("    a: {path: no.wasm}\n    b: {path: bad.wasm}\n    c: {path: PUPPET}\n"))
	s.write(t, "bad.wasm", component)
	_, err := s.new(t)
	wantError(t, err, kernel.CodeModuleNotFound, "no.wasm", "bad.wasm", "asks for what it was not granted")
}

// A host that did not open has let go of its audit log.
func TestNewThatFailedCanBeTriedAgain(t *testing.T) {
	s := newSite(t, modules("    a: {path: no.wasm}\n"))
	if _, err := s.new(t); err == nil {
		t.Fatal("no error")
	}
	s.write(t, "hexdag.yaml", "kind: Config\nspec: {}\n")
	s.open(t)
}

// Two hosts cannot keep one audit log.
func TestNewTwice(t *testing.T) {
	s := newSite(t, "  tenant: one\n")
	s.open(t)
	_, err := s.new(t)
	wantError(t, err, kernel.CodeUnavailable, ".hexdag/audit")
}

func TestLoadRefuses(t *testing.T) {
	s := newSite(t, modules("    a: {path: PUPPET, grants: [metrics.count, database.query]}\n    m: {path: mute.wasm}\n"))
	s.write(t, "mute.wasm", mute)
	h := s.open(t)
	for name, test := range map[string]struct {
		nodes string
		code  kernel.Code
		words []string
	}{
		"module":     {"  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: b.pull}}\n", kernel.CodeModuleNotFound, []string{"p.yaml:5:", "no module b", "configured are a, m"}},
		"tool":       {"  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: a.push}}\n", kernel.CodeModuleExport, []string{"p.yaml:5:", "module a@", "no tool push", "pull"}},
		"body":       {"  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: m}}\n", kernel.CodeModuleExport, []string{"p.yaml:5:", "node_run"}},
		"port":       {"  nodes:\n    - {kind: llm_node, metadata: {name: n}, spec: {human_message: x}}\n", kernel.CodePipeline, []string{"p.yaml:5:", "port 'llm'"}},
		"operation":  {"  nodes:\n    - {kind: service_call_node, metadata: {name: n}, spec: {service: artifacts, method: burn}}\n", kernel.CodePipeline, []string{"p.yaml:5:", "artifacts.burn", "did you mean artifacts."}},
		"kind":       {"  nodes:\n    - {kind: lmm_node, metadata: {name: n}}\n", kernel.CodeUnknownKind, []string{"p.yaml:5:", "lmm_node", "llm_node"}},
		"governance": {"  ports: {governance: {adapter: allow_all}}\n  nodes: []\n", kernel.CodeConfig, []string{"p.yaml:4:", "operator alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.write(t, "p.yaml", "kind: Pipeline\nmetadata: {name: p}\nspec:\n"+test.nodes)
			_, err := h.Load(t.Context(), s.path("p.yaml"), host.LoadOptions{})
			wantError(t, err, test.code, test.words...)
		})
	}
	_, err := h.Load(t.Context(), s.path("no.yaml"), host.LoadOptions{})
	if kernel.CodeOf(err).Class() != kernel.ClassBadInput || !strings.Contains(err.Error(), "no.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}
