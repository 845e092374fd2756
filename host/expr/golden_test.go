package expr

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
)

// golden is what the reference answered, or what its documentation says where the
// case diverges.
type golden struct {
	Data  map[string]any
	State any
	Cases []struct {
		Expr      string
		Value     any
		PyType    string `json:"py_type"`
		Error     string
		Predicate *bool
		Refused   string `json:"predicate_compile_error"`
		Diverge   string
	}
}

func readGolden(t testing.TB) (golden, Map) {
	t.Helper()
	text, err := os.ReadFile("testdata/expressions.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if err := dec.Decode(&g); err != nil {
		t.Fatal(err)
	}
	scope := Map{"state": g.State}
	for name, v := range g.Data {
		scope[name] = v
	}
	return g, scope
}

func TestGolden(t *testing.T) {
	g, scope := readGolden(t)
	if len(g.Cases) < 140 {
		t.Fatalf("%d cases", len(g.Cases))
	}
	for _, c := range g.Cases {
		t.Run(c.Expr, func(t *testing.T) {
			if documented, ok := strings.CutPrefix(c.Diverge, "documented: '"); ok {
				c.Value, c.PyType, c.Error = strings.TrimSuffix(documented, "'"), "str", ""
				yes := true
				c.Predicate = &yes
			} else if c.Diverge != "" {
				t.Fatalf("a divergence that this test does not know: %s", c.Diverge)
			}
			p, err := Compile(c.Expr)
			if c.Refused != "" {
				if kernel.CodeOf(err) != kernel.CodeExpression {
					t.Fatalf("compiled, or failed otherwise: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := p.Predicate(scope); got != *c.Predicate || c.Error != "" && err == nil {
				t.Errorf("as a predicate %v, %v; want %v", got, err, *c.Predicate)
			}
			got, err := p.Eval(scope)
			if c.Error != "" {
				if kernel.CodeOf(err) != kernel.CodeExpressionFailed {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			v, f := p.eval(&machine{scope: scope, steps: maxSteps, textLimit: maxText, slots: make([]value, p.slots)})
			if f != nil || typeName(v) != c.PyType {
				t.Errorf("a %s, want %s", typeName(v), c.PyType)
			}
			want := c.Value
			if special, ok := want.(map[string]any); ok && special["$repr"] != nil {
				shown, f := (&machine{steps: maxSteps, textLimit: maxText}).repr(v)
				if f != nil || shown != special["$repr"] {
					t.Errorf("repr %s, want %v", shown, special["$repr"])
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
