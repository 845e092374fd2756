package regoc_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/extension/policy/regoc"
	"github.com/hexdag/hexdag/host/kernel"
)

const explained = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": "deny"} if {
	count(deny) > 0
} else := {"effect": "allow"} if {
	count(allow) > 0
} else := {"effect": "deny", "reasons": [{"id": "default", "msg": ""}]}

amount := input.action.args.amount

allow contains "small" if {
	known
	amount < data.limit
}

known if {
	some name in data.people
	name == input.subject.id
}

deny contains "late" if {
	input.context.hour > 20
	known
}
`

func explain(t *testing.T, input string) *regoc.Explanation {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{"a.rego": explained, "data.json": `{"limit": 50, "people": ["ada", "bob"]}`})
	x, err := regoc.Explain(context.Background(), regoc.Source{Dirs: []string{dir}}, "hexdag/authz/decision", v)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// found returns what an explanation says of a rule, by its line.
func found(rules []regoc.Rule, line int) *regoc.Rule {
	for i := range rules {
		if rules[i].Where.Line == line {
			return &rules[i]
		}
	}
	return nil
}

func TestExplain(t *testing.T) {
	const allowLine, denyLine = 13, 23
	x := explain(t, `{"subject": {"id": "ada"}, "action": {"args": {"amount": 80}}, "context": {"hour": 9}}`)
	r := found(x.Failed, allowLine)
	if r == nil || r.Name != "hexdag.authz.allow" || r.Conditions[0].Text != "amount < data.limit" || r.Conditions[0].Where.Line != 15 {
		t.Fatalf("too much: %+v", x)
	}
	if values := strings.Join(r.Conditions[0].Values, ", "); values != "amount = 80, data.limit = 50" {
		t.Errorf("values: %s", values)
	}
	if d := found(x.Failed, denyLine); d == nil || d.Conditions[0].Text != "input.context.hour > 20" || d.Conditions[0].Values[0] != "input.context.hour = 9" {
		t.Errorf("the denial that does not apply: %+v", d)
	}

	x = explain(t, `{"subject": {"id": "eve"}, "action": {"args": {"amount": 1}}}`)
	r = found(x.Failed, allowLine)
	if r == nil || r.Conditions[0].Text != "known" || r.Conditions[0].Because == nil || r.Conditions[0].Because.Text != "name == input.subject.id" {
		t.Fatalf("a stranger: %+v", x.Failed)
	}
	if values := strings.Join(r.Conditions[0].Because.Values, ", "); !strings.Contains(values, `input.subject.id = "eve"`) || !strings.Contains(values, "name = ") {
		t.Errorf("values of the cause: %s", values)
	}

	x = explain(t, `{"subject": {"id": "ada"}, "action": {"args": {"amount": 1}}, "context": {"hour": 22}}`)
	d := found(x.Applied, denyLine)
	if d == nil || len(d.Conditions) != 2 || d.Conditions[0].Values[0] != "input.context.hour = 22" || d.Conditions[1].Text != "known" {
		t.Errorf("a denial: %+v", x.Applied)
	}
	if x.Decision.(map[string]any)["effect"] != "deny" {
		t.Errorf("%+v", x)
	}
}

func TestCheck(t *testing.T) {
	for text, want := range map[string]string{
		"package a\n\nx := 1\n":                               "",
		"package a\n\nimport data.b\n\nx := 1\n":              "import data.b unused",
		"package a\n\nf(y) := 1\n":                            "unused argument y",
		"package a\n\nx if {\n\ty := 1\n\tinput.z\n}\n":       "assigned var y unused",
		"package a\n\nx := graph.reachable_paths({}, [])\n":   "grows exponentially",
		"package a\n\nx := strings.render_template(\"\", {})": "a template can loop",
	} {
		err := regoc.Check(regoc.Source{Dirs: []string{folder(t, map[string]string{"a.rego": text})}})
		if want == "" && err != nil || want != "" && (kernel.CodeOf(err) != kernel.CodePolicy || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFormat(t *testing.T) {
	dir := folder(t, map[string]string{"a.rego": "package a\nx:=1\n", "b.rego": "package b\n\nx := 1\n"})
	files, err := regoc.Format(regoc.Source{Dirs: []string{dir}})
	if err != nil || len(files) != 2 || !files[0].Changed || files[1].Changed {
		t.Fatalf("%+v, %v", files, err)
	}
	if err := files[0].Write(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(files[0].File)
	if err != nil || string(text) != "package a\n\nx := 1\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestResidue(t *testing.T) {
	dir := folder(t, map[string]string{"a.rego": "package a\n\nallow contains \"x\" if {\n\tinput.action.name == data.may[input.subject.id][_]\n}\n", "data.json": `{"may": {"ada": ["read", "write"]}}`})
	for who, want := range map[string]string{"ada": `input.action.name = "read", input.action.name = "write"`, "eve": ""} {
		left, err := regoc.Residue(context.Background(), regoc.Source{Dirs: []string{dir}}, "a/allow", map[string]any{"subject": map[string]any{"id": who}})
		if err != nil || strings.Join(left, ", ") != want {
			t.Errorf("%s: %q, %v", who, left, err)
		}
	}
}

func TestTestCover(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.rego":      "package a\n\nx if {\n\tinput.y\n\tinput.z\n}\n\nw if input.v\n",
		"a_test.rego": "package a_test\n\nimport data.a\n\ntest_x if not a.x\n",
	})
	_, c, err := regoc.TestCover(context.Background(), regoc.Source{Dirs: []string{dir}})
	if err != nil || len(c.Files) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, f := range c.Files {
		if f.Percent > 50 || len(f.NotCovered) < 2 {
			t.Errorf("%+v", f)
		}
	}
}
