package policy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// derives is a policy of which a rule is materialized: the answer to data.n, doubled.
const derives = `package materialize.p

# METADATA
# entrypoint: true
double := data.n * 2
`

const reads = `package p

# METADATA
# entrypoint: true
decision := {"data": data.at, "double": double}

default double := "none"

double := data.materialized["p/double"]
`

// built compiles files, by their names.
func built(t testing.TB, files map[string]string) *regoc.Artifact {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, files)
	a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func value(t *testing.T, text string) kernel.Value {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestPatches(t *testing.T) {
	a := built(t, map[string]string{"p.rego": reads, "m.rego": derives})
	first := load(t, a.Wasm, policy.Options{Data: []byte(`{"n": 1, "at": {"list": [1, 2, 3], "deep": {"a": {"b": "c"}}, "x": "y"}}`)})
	for name, tc := range map[string]struct{ patches, want, double string }{
		"a new member":           {`[{"op": "upsert", "path": "/at/new", "value": {"k": [1]}}]`, `{"list": [1, 2, 3], "deep": {"a": {"b": "c"}}, "x": "y", "new": {"k": [1]}}`, "2"},
		"objects on the way":     {`[{"op": "upsert", "path": "/at/p/q/r", "value": 1}]`, `{"list": [1, 2, 3], "deep": {"a": {"b": "c"}}, "x": "y", "p": {"q": {"r": 1}}}`, "2"},
		"another value":          {`[{"op": "replace", "path": "/at/deep/a", "value": {"z": null}}]`, `{"list": [1, 2, 3], "deep": {"a": {"z": null}}, "x": "y"}`, "2"},
		"removed":                {`[{"op": "remove", "path": "/at/deep"}, {"op": "remove", "path": "at/x"}]`, `{"list": [1, 2, 3]}`, "2"},
		"what follows, too":      {`[{"op": "replace", "path": "/n", "value": 21}]`, `{"list": [1, 2, 3], "deep": {"a": {"b": "c"}}, "x": "y"}`, "42"},
		"elements":               {`[{"op": "upsert", "path": "/at/list/-", "value": 4}, {"op": "upsert", "path": "/at/list/0", "value": 0}, {"op": "remove", "path": "/at/list/2"}, {"op": "replace", "path": "/at/list/1", "value": {"a": 1}}, {"op": "upsert", "path": "/at/list/1/b", "value": "~"}]`, `{"list": [0, {"a": 1, "b": "~"}, 3, 4], "deep": {"a": {"b": "c"}}, "x": "y"}`, "2"},
		"names of other letters": {`[{"op": "upsert", "path": "/at/a~1b~0c ü\"", "value": "q\"\\"}, {"op": "remove", "path": "/at/list"}, {"op": "remove", "path": "/at/deep"}]`, `{"x": "y", "a/b~c ü\"": "q\"\\"}`, "2"},
		"the whole":              {`[{"op": "replace", "path": "", "value": {"n": 4, "at": {"z": 1}}}]`, `{"z": 1}`, "8"},
		"nothing to follow":      {`[{"op": "replace", "path": "/n", "value": "text"}]`, `{"list": [1, 2, 3], "deep": {"a": {"b": "c"}}, "x": "y"}`, `"none"`},
	} {
		t.Run(name, func(t *testing.T) {
			var patches []policy.Patch
			if err := json.Unmarshal([]byte(tc.patches), &patches); err != nil {
				t.Fatal(err)
			}
			p, err := first.WithPatches(t.Context(), patches)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			want := map[string]any{"data": value(t, tc.want), "double": value(t, tc.double)}
			if diff := cmp.Diff(want, eval(t, p, nil)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			anew, err := first.WithData(t.Context(), p.Data())
			if err != nil {
				t.Fatal(err)
			}
			defer anew.Close()
			if anew.Digest() != p.Digest() || p.Digest() == first.Digest() {
				t.Errorf("digests: %s as patched, %s as loaded, %s before", p.Digest(), anew.Digest(), first.Digest())
			}
			if diff := cmp.Diff(want, eval(t, anew, nil)); diff != "" {
				t.Errorf("loaded: -want +got\n%s", diff)
			}
		})
	}
	if got := eval(t, first, nil).(map[string]any); got["double"] != json.Number("2") || len(got["data"].(map[string]any)) != 3 {
		t.Errorf("the first one is another now: %v", got)
	}
}

func TestBadPatches(t *testing.T) {
	p := load(t, compile(t, `decision := data.x`), policy.Options{Data: []byte(`{"x": 1, "list": [1]}`)})
	before := p.Digest()
	for why, patch := range map[string]policy.Patch{
		"there are the operations upsert, replace and remove": {Op: "move", Path: "/x"},
		"there is no":                          {Op: "replace", Path: "/gone", Value: 1},
		"the whole document cannot be removed": {Op: "remove", Path: ""},
		"there is no element":                  {Op: "remove", Path: "/list/1"},
		`there is no element "01"`:             {Op: "upsert", Path: "/list/01", Value: 1},
		"neither an object nor an array":       {Op: "upsert", Path: "/x/y", Value: 1},
		"has a member materialized":            {Op: "upsert", Path: "/materialized/y", Value: 1},
		"not a JSON object":                    {Op: "replace", Path: "", Value: []any{}},
		"at most 128 steps":                    {Op: "upsert", Path: strings.Repeat("/a", kernel.MaxDepth+1), Value: 1},
	} {
		_, err := p.WithPatches(t.Context(), []policy.Patch{{Op: "upsert", Path: "/ok", Value: 1}, patch})
		wantCode(t, err, kernel.CodePolicy, why)
	}
	_, err := p.WithPatches(t.Context(), nil)
	wantCode(t, err, kernel.CodePolicy, "there are 0 patches")
	_, err = p.WithData(t.Context(), []byte(`{"materialized": {}}`))
	wantCode(t, err, kernel.CodePolicy, "materialized")
	if p.Digest() != before || eval(t, p, nil) != json.Number("1") {
		t.Error("a bad patch changed the policy")
	}
}

// TestPatchesAdd: however many patches came before, the module has the document that
// they make.
func TestPatchesAdd(t *testing.T) {
	rounds := 300
	if testenv.Race {
		rounds = 40
	}
	a := built(t, map[string]string{"p.rego": reads, "m.rego": derives})
	p := load(t, a.Wasm, policy.Options{Data: []byte(`{"n": 0, "at": {}}`), Instances: 1})
	random := rand.New(rand.NewPCG(1, 9))
	first := p
	for i := range rounds {
		path := fmt.Sprintf("/at/k%d", random.IntN(8))
		patches := []policy.Patch{{Op: "upsert", Path: path + "/v", Value: strings.Repeat("x", random.IntN(400))}, {Op: "upsert", Path: "/n", Value: i}}
		if random.IntN(3) == 0 {
			patches = append(patches, policy.Patch{Op: "remove", Path: path})
		}
		next, err := p.WithPatches(t.Context(), patches)
		if err != nil {
			t.Fatal(err)
		}
		if p != first {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		p = next
		want := map[string]any{"data": value(t, string(p.Data())).(map[string]any)["at"], "double": number(2 * i)}
		if diff := cmp.Diff(want, eval(t, p, nil)); diff != "" {
			t.Fatalf("round %d: -want +got\n%s", i, diff)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

// Changes leave memory behind, which is given back before there is much of it.
func TestPatchesLeaveLittleBehind(t *testing.T) {
	rounds := 200
	if testenv.Race {
		rounds = 60
	}
	a := built(t, map[string]string{"p.rego": reads, "m.rego": derives})
	p := load(t, a.Wasm, policy.Options{Data: []byte(`{"n": 1, "at": {"v": ""}}`), Instances: 1})
	fresh := p.Heap()
	for i := range rounds {
		next, err := p.WithPatches(t.Context(), []policy.Patch{{Op: "replace", Path: "/at/v", Value: strings.Repeat("x", 10_000+i%2)}})
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if p = next; p.Heap() > 2*(fresh+20_000) {
			t.Fatalf("after %d changes the data takes %d bytes, %d at first", i+1, p.Heap(), fresh)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

func number(n int) json.Number { return json.Number(fmt.Sprint(n)) }

// TestMaterializeLimits: a rule that takes too much leaves decisions as they are, only slower.
func TestMaterializeLimits(t *testing.T) {
	a := built(t, map[string]string{"p.rego": reads, "m.rego": "package materialize.p\n\n# METADATA\n# entrypoint: true\ndouble := [x | some x in numbers.range(1, data.n); some y in numbers.range(1, data.n)]\n"})
	var logged []string
	p := load(t, a.Wasm, policy.Options{Data: []byte(`{"n": 5000, "at": {}}`), Fuel: 1_000_000, Log: logTo(&logged)})
	if got := eval(t, p, nil).(map[string]any)["double"]; got != "none" || len(logged) != 1 || !strings.Contains(logged[0], "decisions take longer") {
		t.Errorf("got %v, logged %q", got, logged)
	}
	a = built(t, map[string]string{"p.rego": reads, "m.rego": "package materialize.p\n\n# METADATA\n# entrypoint: true\ndouble := time.now_ns()\n"})
	_, err := policy.Load(t.Context(), a.Wasm, policy.Options{Data: []byte(`{"at": {}}`), Interpreter: true})
	wantCode(t, err, kernel.CodePolicy, "asks for the time")
}

// BenchmarkSwap is a policy with 90 KB of data getting others: all of it, and in a place.
func BenchmarkSwap(b *testing.B) {
	data := thousand(b)
	a, err := regoc.Build(b.Context(), regoc.Source{Dirs: []string{composed(b, []string{"rbac", "abac"}, data)}}, regoc.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p := loadWith(b, a.Wasm, policy.Options{Data: a.Data, Builtins: topdown.Builtins()})
	swap := func(next func() (*policy.Policy, error)) func(b *testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				q, err := next()
				if err != nil {
					b.Fatal(err)
				}
				if err := q.Close(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	b.Run("data", swap(func() (*policy.Policy, error) { return p.WithData(b.Context(), a.Data) }))
	b.Run("patch", swap(func() (*policy.Policy, error) {
		return p.WithPatches(b.Context(), []policy.Patch{{Op: "upsert", Path: "/rbac/bindings/eve", Value: []any{map[string]any{"role": "role3", "tenant": "acme"}}}})
	}))
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func logTo(lines *[]string) func(context.Context, string) {
	return func(_ context.Context, line string) { *lines = append(*lines, line) }
}
