package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
)

// TestPatternsAsInOPA compares the host's builtins for patterns with OPA's.
func TestPatternsAsInOPA(t *testing.T) {
	calls := []string{
		`regex.match("^a.c$", "abc")`, `regex.match("a(", "a")`, `regex.match(input.one, "a")`, `regex.match("a", input.one)`, `regex.match("", "")`, `regex.match("(?i)Ä+", "äÄ")`, `regex.match("\\d{2,3}", "x12")`,
		`regex.is_valid("a+")`, `regex.is_valid("a(")`, `regex.is_valid(input.one)`, `regex.match("(?<name>a)", "a")`, `regex.match("a{1001}", "a")`,
		`regex.find_all_string_submatch_n("a(x*)b", "-axxb-ab-", -1)`, `regex.find_all_string_submatch_n("a(x*)b", "-axxb-ab-", 1)`, `regex.find_all_string_submatch_n("a", "aaa", 0)`,
		`regex.find_all_string_submatch_n("(a)|(b)", "ab", -7)`, `regex.find_all_string_submatch_n("a", "a", 1.5)`, `regex.find_all_string_submatch_n("z", "a", -1)`, `regex.find_all_string_submatch_n("(", "a", -1)`,
		`glob.match("*.github.com", [], "api.github.com")`, `glob.match("*.github.com", ["."], "api.cdn.github.com")`, `glob.match("*hub.com", null, "api.cdn.github.com")`, `glob.match("*:github:com", [":"], "api:github:com")`,
		`glob.match("api.**.com", [], "api.cdn.github.com")`, `glob.match("?at", [], "cat")`, `glob.match("?at", [], "at")`, `glob.match("[abc]at", [], "bat")`, `glob.match("[!abc]at", [], "cat")`, `glob.match("[a-c]at", [], "cat")`,
		`glob.match("{cat,bat,[fr]at}", [], "rat")`, `glob.match("{cat,{b,*}at}", [], "xat")`, `glob.match("[", [], "a")`, `glob.match("a", ["ab"], "a")`, `glob.match("a", [""], "a")`, `glob.match(input.one, [], "a")`,
		`glob.match("a*", ["^", "]", "-"], "abc")`, `glob.match("a*", ["^", "]", "-"], "a-c")`, `glob.match("ü?", [], "üß")`, `glob.match("", [], "")`,
	}
	var text strings.Builder
	for i, c := range calls {
		fmt.Fprintf(&text, "decision[%d] := %s\n", i, c)
	}
	text.WriteString("decision[\"with\"] := x if x := matches(\"a\") with regex.match as mock\n\nmock(_, x) := [x]\n\nmatches(x) := regex.match(\"b\", x)\n")
	p := load(t, compile(t, text.String()), policy.Options{})
	opa := prepare(t, "data.p.decision", rego.Module("p.rego", "package p\n"+text.String()))
	input := map[string]any{"one": 1}
	want, got := opa(input).(map[string]any), eval(t, p, input).(map[string]any)
	if len(want) < len(calls)*2/3 {
		t.Errorf("only %d of %d calls are defined", len(want), len(calls))
	}
	for i, c := range append(calls, "with") {
		key := fmt.Sprint(i)
		if c == "with" {
			key = c
		}
		if diff := cmp.Diff(want[key], got[key]); diff != "" {
			t.Errorf("%s: -OPA +driver\n%s", c, diff)
		}
	}
}

func TestPatternLimits(t *testing.T) {
	p := load(t, compile(t, `decision := regex.match(input.pattern, input.text)

globbed := glob.match(input.pattern, [], input.text)`, "p/decision", "p/globbed"), policy.Options{Instances: 1, Timeout: time.Minute})
	for name, input := range map[string]map[string]any{
		"a long pattern":              {"pattern": strings.Repeat("a", 16<<10+1), "text": ""},
		"a pattern of much in little": {"pattern": strings.Repeat("[a-z]{900}", 30), "text": strings.Repeat("a", 2000)},
		"a long text and much to try": {"pattern": strings.Repeat("(a*)*", 30), "text": strings.Repeat("a", 500_000)},
	} {
		_, _, err := p.Eval(t.Context(), "p/decision", input)
		wantCode(t, err, kernel.CodeLimit, "would give too much")
		_ = name
	}
	stars := map[string]any{"pattern": strings.Repeat("a*", 40) + "b", "text": strings.Repeat("a", 10_000)}
	started := time.Now()
	v, _, err := p.Eval(t.Context(), "p/globbed", stars)
	if err != nil || v != false {
		t.Errorf("%v, %v", v, err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestPortable: other runtimes can run what is built for them, and it decides the same.
func TestPortable(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"p.rego": "package p\n\n# METADATA\n# entrypoint: true\ndecision := [glob.match(\"a*\", [], input), regex.match(\"^a.$\", input)]\n"})
	for _, portable := range []bool{false, true} {
		a, err := regoc.Build(t.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{Portable: portable})
		if err != nil {
			t.Fatal(err)
		}
		p := load(t, a.Wasm, policy.Options{})
		if diff := cmp.Diff([]any{true, true}, eval(t, p, "ab")); diff != "" {
			t.Error(diff)
		}
		if calls := strings.Contains(string(a.Wasm), "hexdag.glob.match"); calls == portable {
			t.Errorf("portable %v: it calls the host %v", portable, calls)
		}
	}
}

// BenchmarkPatterns is a policy that tries globs and regular expressions: ours, OPA's evaluator
// and, portable, our driver with the module's own.
func BenchmarkPatterns(b *testing.B) {
	for name, condition := range map[string]string{"glob": `glob.match(pattern, ["/"], input.path)`, "regex": `regex.match(pattern, input.path)`} {
		patterns := make([]string, 20)
		for i := range patterns {
			patterns[i] = map[string]string{"glob": fmt.Sprintf("%q", fmt.Sprintf("tenant/%d/**/item-[0-9]*", i)), "regex": fmt.Sprintf("%q", fmt.Sprintf("^tenant/%d/.*/item-[0-9]+$", i))}[name]
		}
		text := "package p\n\n# METADATA\n# entrypoint: true\ndecision := {pattern | some pattern in [" + strings.Join(patterns, ", ") + "]; " + condition + "}\n"
		dir := b.TempDir()
		write(b, dir, map[string]string{"p.rego": text})
		input := map[string]any{"path": "tenant/7/a/b/item-12"}
		for _, portable := range []bool{false, true} {
			a, err := regoc.Build(b.Context(), regoc.Source{Dirs: []string{dir}}, regoc.Options{Portable: portable})
			if err != nil {
				b.Fatal(err)
			}
			p := loadWith(b, a.Wasm, policy.Options{})
			b.Run(fmt.Sprintf("%s/driver portable=%v", name, portable), func(b *testing.B) {
				for b.Loop() {
					if v, _, err := p.Eval(b.Context(), "p/decision", input); err != nil || len(v.([]any)) != 1 {
						b.Fatal(v, err)
					}
				}
			})
		}
		opa := prepare(b, "data.p.decision", rego.Module("p.rego", text))
		b.Run(name+"/OPA", func(b *testing.B) {
			for b.Loop() {
				if v := opa(input); len(v.([]any)) != 1 {
					b.Fatal(v)
				}
			}
		})
	}
}
