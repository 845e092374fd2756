package regoc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder writes files, by name.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func build(t *testing.T, files map[string]string) (*regoc.Artifact, error) {
	t.Helper()
	return regoc.Build(context.Background(), regoc.Source{Dirs: []string{folder(t, files)}}, regoc.Options{})
}

func mustBuild(t *testing.T, files map[string]string) *regoc.Artifact {
	t.Helper()
	a, err := build(t, files)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func evaluate(t *testing.T, p *policy.Policy, entrypoint string, input any) kernel.Value {
	t.Helper()
	v, defined, err := p.Eval(context.Background(), entrypoint, input)
	if err != nil || !defined {
		t.Fatalf("defined %v, error %v", defined, err)
	}
	return v
}

func sources() map[string]string {
	return map[string]string{
		"a.rego":           "package a\n\nimport data.hexdag.ports\n\n# METADATA\n# entrypoint: true\nanswer := [data.x.y, ports.port, helper]\n\nhelper := 7\n",
		"a_test.rego":      "package a_test\n\ntest_broken if syntax error here\n",
		"x/data.yaml":      "y: [1, two]\n",
		"data.json":        `{"z": 1}`,
		".git/broken.rego": "no policy",
		"notes.txt":        "not read",
	}
}

func TestBuild(t *testing.T) {
	a := mustBuild(t, sources())
	if !slices.Equal(a.Entrypoints, []string{"a/answer"}) {
		t.Errorf("entrypoints %v", a.Entrypoints)
	}
	if want := `{"x":{"y":[1,"two"]},"z":1}`; string(a.Data) != want {
		t.Errorf("data %s, want %s", a.Data, want)
	}
	for _, ext := range []string{"policy.wasm", "policy.tar.gz"} {
		name := filepath.Join(t.TempDir(), ext)
		if err := a.Write(name); err != nil {
			t.Fatal(err)
		}
		p, err := policy.LoadFile(context.Background(), name, policy.Options{Data: a.Data})
		if err != nil {
			t.Fatal(err)
		}
		got := evaluate(t, p, "a/answer", map[string]any{"action": map[string]any{"name": "llm.complete"}})
		if want := `[[1 two] llm 7]`; fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", ext, got, want)
		}
		p.Close()
	}
}

func TestBundle(t *testing.T) {
	a := mustBuild(t, sources())
	raw, err := a.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	again, err := mustBuild(t, sources()).Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(raw, again) {
		t.Error("equal policies, other bytes")
	}
	f, err := policy.Read("bundle", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.Wasm, a.Wasm) || !bytes.Equal(f.Data, a.Data) || f.Revision != a.Revision || len(f.Revision) != 64 {
		t.Errorf("our reader: revision %q, data %s", f.Revision, f.Data)
	}
	b, err := bundle.NewReader(bytes.NewReader(raw)).Read()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.WasmModules) != 1 || len(b.Modules) == 0 || b.Manifest.Revision != a.Revision {
		t.Errorf("OPA's reader: %d wasm modules, %d policies, revision %q", len(b.WasmModules), len(b.Modules), b.Manifest.Revision)
	}
}

func TestRevision(t *testing.T) {
	changed := sources()
	changed["data.json"] = `{"z": 2}`
	if mustBuild(t, sources()).Revision == mustBuild(t, changed).Revision {
		t.Error("other data, same revision")
	}
	dir := folder(t, sources())
	a, err := regoc.Build(context.Background(), regoc.Source{Dirs: []string{dir}}, regoc.Options{Revision: "v7", Entrypoints: []string{"a/helper"}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Revision != "v7" || !slices.Equal(a.Entrypoints, []string{"a/answer", "a/helper"}) {
		t.Errorf("revision %s, entrypoints %v", a.Revision, a.Entrypoints)
	}
}

// all returns the kernel.Errors that err joins.
func all(err error) []*kernel.Error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var found []*kernel.Error
		for _, e := range joined.Unwrap() {
			found = append(found, all(e)...)
		}
		return found
	}
	var e *kernel.Error
	if errors.As(err, &e) {
		return []*kernel.Error{e}
	}
	return nil
}

func TestErrors(t *testing.T) {
	var many strings.Builder
	for i := range 15 {
		fmt.Fprintf(&many, "r%d := unknown_%d(1)\n", i, i)
	}
	const entry = "# METADATA\n# entrypoint: true\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  []string // parts of each error, in order
	}{
		"syntax":        {map[string]string{"a.rego": "package a\n\nx := {"}, []string{"a.rego:3:6: parse_error"}},
		"two files":     {map[string]string{"a.rego": "package a\nx := ", "b.rego": "package b\ny := ]"}, []string{"a.rego:2:5", "b.rego:2:6"}},
		"old Rego":      {map[string]string{"a.rego": "package a\nx { true }"}, []string{"a.rego:2:1"}},
		"two mistakes":  {map[string]string{"a.rego": "package a\nx := y\nz := q"}, []string{"a.rego:2:6: unsafe_var_error: var y", "a.rego:3:6: unsafe_var_error: var q"}},
		"more than ten": {map[string]string{"a.rego": "package a\n" + many.String()}, slices.Repeat([]string{"undefined function unknown_"}, 15)},
		"network": {map[string]string{"a.rego": "package a\n" + entry + "x := http.send({\"url\": \"http://a\", \"method\": \"get\"})"},
			[]string{"a.rego:4:6: the policy calls http.send: it would let a policy reach the network"}},
		"exponential":         {map[string]string{"a.rego": "package a\n" + entry + "x := graph.reachable_paths({}, [])"}, []string{"grows exponentially"}},
		"environment":         {map[string]string{"a.rego": "package a\n" + entry + "x := opa.runtime()"}, []string{"the host's configuration"}},
		"no entrypoint":       {map[string]string{"a.rego": "package a\nx := 1"}, []string{"entrypoint: true"}},
		"nothing":             {map[string]string{"a_test.rego": "package a\nx := 1"}, []string{"no policy found"}},
		"conflict in data":    {map[string]string{"a.rego": "package a", "data.json": `{"x": {"y": 1}}`, "x/data.json": `{"y": 2}`}, []string{"two values"}},
		"broken data":         {map[string]string{"a.rego": "package a", "data.json": `{"x": 1, "x": 2}`}, []string{"data.json: a policy's data cannot be used"}},
		"data and rules meet": {map[string]string{"a.rego": "package a\n" + entry + "x := 1", "data.json": `{"a": {"x": 1}}`}, []string{"a.rego:4:1: compile_error: conflicting rule for data path a/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := build(t, tc.files)
			found := all(err)
			if len(found) != len(tc.want) {
				t.Fatalf("%d errors, want %d: %v", len(found), len(tc.want), err)
			}
			for i, e := range found {
				if e.Code != kernel.CodePolicy || !strings.Contains(e.Error(), tc.want[i]) {
					t.Errorf("%s: %v, want %q", e.Code, e, tc.want[i])
				}
			}
		})
	}
	if _, err := regoc.Build(context.Background(), regoc.Source{Dirs: []string{"none"}}, regoc.Options{}); kernel.CodeOf(err) != kernel.CodePolicy {
		t.Errorf("no folder: %v", err)
	}
}

func TestTest(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.rego":      "package a\n\nx := data.n + 1\n",
		"a_test.rego": "package a_test\n\nimport data.a\n\ntest_right if a.x == 2\n\ntest_wrong if a.x == 3\n\ntodo_test_later if false\n",
		"data.json":   `{"n": 1}`,
	})
	results, err := regoc.Test(context.Background(), regoc.Source{Dirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]string{}
	for _, r := range results {
		ended[r.Name] = fmt.Sprint(r.Passed, r.Skipped, r.Where.Line)
	}
	for name, want := range map[string]string{"test_right": "true false 5", "test_wrong": "false false 7", "todo_test_later": "false true 9"} {
		if ended[name] != want {
			t.Errorf("%s: %s, want %s", name, ended[name], want)
		}
	}
}

// TestNative holds the list of native builtins against OPA's compiler: a module
// that calls each builtin that policies may call loads, so all of them are in it or
// offered by the host. The rest do not compile.
func TestNative(t *testing.T) {
	offered := map[string]bool{}
	for _, b := range regoc.Capabilities().Builtins {
		offered[b.Name] = true
	}
	allowed, refused := "package a\n", "package a\n"
	var refusals, entrypoints []string
	for i, b := range ast.CapabilitiesForThisVersion().Builtins {
		if b.Infix != "" || b.IsDeprecated() || b.Relation || strings.HasPrefix(b.Name, "internal.") || b.Name == "print" {
			continue
		}
		args := make([]string, len(b.Decl.FuncArgs().Args))
		for i := range args {
			args[i] = fmt.Sprintf("input.a%d", i)
		}
		rule := fmt.Sprintf("r%d := %s(%s)\n", i, b.Name, strings.Join(args, ", "))
		if offered[b.Name] {
			allowed += rule
			entrypoints = append(entrypoints, fmt.Sprintf("a/r%d", i))
		} else {
			refused += rule
			refusals = append(refusals, b.Name)
		}
	}
	if len(entrypoints) < 140 || len(refusals) < 15 {
		t.Errorf("%d builtins are offered, %d refused", len(entrypoints), len(refusals))
	}
	source := regoc.Source{Dirs: []string{folder(t, map[string]string{"a.rego": allowed})}}
	a, err := regoc.Build(context.Background(), source, regoc.Options{Entrypoints: entrypoints})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(context.Background(), a.Wasm, policy.Options{Interpreter: true, Instances: 1, Builtins: topdown.Builtins()})
	if err != nil {
		t.Fatalf("not native: %v", err)
	}
	p.Close()
	_, err = build(t, map[string]string{"a.rego": refused})
	for _, name := range refusals {
		if !strings.Contains(fmt.Sprint(err), "the policy calls "+name+": ") {
			t.Errorf("%s is not refused", name)
		}
	}
}

// TestBuildIndexes: what a policy of the stock library keeps ready is built in where that
// policy is used, and nowhere else.
func TestBuildIndexes(t *testing.T) {
	for text, want := range map[string][]string{
		"package a\n\nimport data.hexdag.rbac\n\n# METADATA\n# entrypoint: true\nanswer := rbac.rules\n": {"a/answer", "materialize/hexdag/rbac/index"},
		"package a\n\nimport data.b\n\n# METADATA\n# entrypoint: true\nanswer := b.c\n":                  {"a/answer", "materialize/b/index"},
		"package a\n\n# METADATA\n# entrypoint: true\nanswer := 1\n":                                     {"a/answer"},
	} {
		a := mustBuild(t, map[string]string{"a.rego": text, "b.rego": "package b\n\nc := data.materialized[\"b/index\"]\n", "i.rego": "package materialize.b\n\nindex[x] := y if some x, y in data.d\n\nhelper := 1\n"})
		if !slices.Equal(a.Entrypoints, want) {
			t.Errorf("%s\nentrypoints %v, want %v", text, a.Entrypoints, want)
		}
	}
}
