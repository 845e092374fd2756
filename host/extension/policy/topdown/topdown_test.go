package topdown_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
)

// evaluate compiles a rule of that text and evaluates it at a time.
func evaluate(t *testing.T, text string, at time.Time, input any) (any, bool, error) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.rego")
	if err := os.WriteFile(name, []byte("package p\n\nx := "+text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{name}}, regoc.Options{Entrypoints: []string{"p/x"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Load(t.Context(), a.Wasm, policy.Options{Interpreter: true, Instances: 1, Timeout: time.Minute, Builtins: topdown.Builtins(), Now: func(context.Context) time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	return p.Eval(t.Context(), "p/x", input)
}

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestBuiltins(t *testing.T) {
	for text, want := range map[string]string{
		`semver.compare("1.2.0", "1.10.0")`:                                   `-1`,
		`regex.replace("a1b22", "[0-9]+", "#")`:                               `"a#b#"`,
		`hex.encode("hü")`:                                                    `"68c3bc"`,
		`object.subset({"a": {1, 2}}, {"a": {2}})`:                            `true`,
		`yaml.unmarshal("a: [1, x]")`:                                         `{"a":[1,"x"]}`,
		`time.format([1763817255000000016, "UTC", "2006-01-02"])`:             `"2025-11-22"`,
		`json.patch({"a": 1}, [{"op": "add", "path": "/b", "value": {"c"}}])`: `{"a":1,"b":["c"]}`,
		`net.cidr_expand("10.0.0.0/30")`:                                      `["10.0.0.0","10.0.0.1","10.0.0.2","10.0.0.3"]`,
		`crypto.hmac.equal(crypto.hmac.sha256("a", "k"), input.no)`:           ``,
		`semver.compare("x", input.v)`:                                        ``,
		`units.parse("10K")`:                                                  `10000`,
		`urlquery.encode("a b&c")`:                                            `"a+b%26c"`,
		`numbers.range_step(0, 6, 3)`:                                         `[0,3,6]`,
	} {
		v, defined, err := evaluate(t, text, noon, map[string]any{"v": "1"})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := ""
		if defined {
			b, err := kernel.EncodeJSON(v)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestChance: what would be chance follows from the time and the input.
func TestChance(t *testing.T) {
	const text = `[rand.intn("a", 1000000), rand.intn("a", 1000000), rand.intn("b", 1000000), uuid.rfc4122("a"), uuid.rfc4122("a"), uuid.rfc4122("b")]`
	ask := func(at time.Time, input string) []any {
		v, defined, err := evaluate(t, text, at, input)
		if err != nil || !defined {
			t.Fatal(defined, err)
		}
		return v.([]any)
	}
	first := ask(noon, "x")
	if first[0] != first[1] || first[3] != first[4] || first[0] == first[2] || first[3] == first[5] {
		t.Errorf("within an evaluation: %v", first)
	}
	if again := ask(noon, "x"); !slices.Equal(first, again) {
		t.Errorf("%v, and then %v", first, again)
	}
	if later := ask(noon.Add(1), "x"); slices.Equal(first, later) {
		t.Error("the time makes no difference")
	}
	if other := ask(noon, "y"); slices.Equal(first, other) {
		t.Error("the input makes no difference")
	}
}

// TestBounds: what would cost much ends the evaluation, and soon. It is never
// undefined, as that could make a rule fail.
func TestBounds(t *testing.T) {
	for name, tc := range map[string]struct {
		text, want string
		input      any
	}{
		"addresses": {`net.cidr_expand(input)`, "2^32", "0.0.0.0/0"},
		"IPv6":      {`net.cidr_expand(input)`, "2^64", "::/64"},
		"copies":    {`json.patch({"a": {}}, [p | some i in numbers.range(1, 20); p := {"op": "copy", "from": "/a", "path": sprintf("/a/x%d", [i])}])`, "20 copies", nil},
		"replacing": {`regex.replace(input, "", input)`, "could give", strings.Repeat("x", 5000)},
		"steps":     {`numbers.range_step(0, input, 1)`, "more than 100000 numbers", 1e9},
		"large":     {`yaml.unmarshal(input)`, "the limit is 16384", strings.Repeat("x", 17000)},
		"exponent":  {`units.parse(input)`, "exponent", "1e999999999"},
		"machine":   {`time.format([0, input])`, "Local", "Local"},
		"result":    {`regex.split("", input)`, "over the limit of 1048576", strings.Repeat("x", 230_000)},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			v, defined, err := evaluate(t, tc.text, noon, tc.input)
			if kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %v, %v; want %q", v, defined, err, tc.want)
			}
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestNames holds the list against OPA: each is one of its builtins, and what is on
// neither list is refused for a reason of its own.
func TestNames(t *testing.T) {
	for _, name := range topdown.Names() {
		if b, ok := ast.BuiltinMap[name]; !ok || b.Relation {
			t.Errorf("OPA has no builtin %s that a module can call", name)
		}
		if _, ok := topdown.Unbounded(name); !ok {
			t.Errorf("OPA does not implement %s", name)
		}
		if slices.Contains(policy.Builtins(), name) {
			t.Errorf("package policy has %s itself", name)
		}
	}
	capabilities := regoc.Capabilities()
	for _, b := range ast.CapabilitiesForThisVersion().Builtins {
		if slices.ContainsFunc(capabilities.Builtins, func(c *ast.Builtin) bool { return c.Name == b.Name }) {
			continue
		}
		if why := topdown.WhyRefused(b.Name); strings.Contains(why, "is not among") {
			t.Errorf("%s is refused without a reason of its own", b.Name)
		}
	}
	for _, name := range []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "trace", "io.jwt.encode_sign", "json.match_schema"} {
		if slices.Contains(topdown.Names(), name) || topdown.WhyRefused(name) == "" {
			t.Errorf("%s is offered", name)
		}
	}
	if _, ok := topdown.Unbounded("no.such"); ok {
		t.Error("there is a builtin no.such")
	}
}

func FuzzBuiltins(f *testing.F) {
	for _, arg := range []string{`"x"`, `1`, `{"a": [1]}`, `{1, 2}`, `[1, "a"]`, `null`, `"1e999"`, `"10.0.0.0/8"`, `set()`} {
		f.Add(uint8(0), arg, arg)
	}
	names, all := topdown.Names(), topdown.Builtins()
	f.Fuzz(func(t *testing.T, which uint8, a, b string) {
		name := names[int(which)%len(names)]
		args := []string{a, b, a, b}[:all[name].Arity]
		for _, arg := range args {
			if _, err := ast.ParseTerm(arg); err != nil {
				t.Skip()
			}
		}
		out, err := all[name].Call(&policy.Evaluation{Context: t.Context(), Now: noon}, args)
		if err != nil && strings.Contains(err.Error(), "panicked") {
			t.Errorf("%s(%s): %v", name, fmt.Sprint(args), err)
		}
		if _, perr := ast.ParseTerm(out); out != "" && perr != nil {
			t.Errorf("%s: %q: %v", name, out, perr)
		}
	})
}

// TestBuiltinsEnd: a builtin that takes long ends with the evaluation.
func TestBuiltinsEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, args := range map[string][]string{"net.cidr_expand": {`"10.0.0.0/24"`}, "numbers.range_step": {"1", "1000", "1"}} {
		b := topdown.Builtins()[name]
		if text, err := b.Call(&policy.Evaluation{Context: ctx}, args); err == nil {
			t.Errorf("%s went on to the end: %d bytes", name, len(text))
		}
		if text, err := b.Call(&policy.Evaluation{Context: t.Context()}, args); err != nil || len(text) < 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
