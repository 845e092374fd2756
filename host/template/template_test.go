package template

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/expr"
	"github.com/hexdag/hexdag/host/kernel"
)

// golden is what Jinja2 3.1 makes of templates, with undefined names as errors;
// testdata/jinja.py writes it.
type golden struct {
	Data    map[string]any
	Renders []struct{ Template, Want string }
	Fails   []string
}

func readGolden(t testing.TB) golden {
	t.Helper()
	f, err := os.Open("testdata/jinja.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.UseNumber()
	var g golden
	if err := dec.Decode(&g); err != nil {
		t.Fatal(err)
	}
	return g
}

func render(t testing.TB, source string, data map[string]any) (string, error) {
	t.Helper()
	tmpl, err := Parse(source)
	if err != nil {
		return "", err
	}
	return tmpl.Render(expr.Map(data))
}

// TestLikeJinja renders as Jinja2 does.
func TestLikeJinja(t *testing.T) {
	g := readGolden(t)
	if len(g.Renders) < 70 || len(g.Fails) < 30 {
		t.Fatalf("%d and %d cases", len(g.Renders), len(g.Fails))
	}
	for _, c := range g.Renders {
		got, err := render(t, c.Template, g.Data)
		if err != nil || got != c.Want {
			t.Errorf("%s\n got %q\nwant %q\n%v", c.Template, got, c.Want, err)
		}
	}
	for _, source := range g.Fails {
		got, err := render(t, source, g.Data)
		if err == nil {
			t.Errorf("%s renders as %q", source, got)
			continue
		}
		if !strings.Contains(err.Error(), "line 1, column ") {
			t.Errorf("%s: no place: %v", source, err)
		}
		if kernel.CodeOf(err) != kernel.CodePipeline {
			t.Errorf("%s: code %s", source, kernel.CodeOf(err))
		}
	}
}

// TestErrorsSayWhere: what is wrong, at which line and column, and what to do.
func TestErrorsSayWhere(t *testing.T) {
	data := map[string]any{"name": "Ada", "spec": map[string]any{"variables": map[string]any{"env": "dev"}}, "xs": []any{json.Number("1")}}
	for source, want := range map[string][]string{
		"a\nb {{ nane }}":                           {"line 2, column 6", "nane is undefined", "did you mean name?", "spec.variables"},
		"é {{ spec.variables.evn }}":                {"line 1, column 6", "spec.variables.evn is undefined"},
		"{{ spec.variables.env.deeper }}":           {"spec.variables.env.deeper is undefined"},
		"{{ xs.1 }}":                                {"xs.1 is undefined"},
		"{{ name | uper }}":                         {"line 1, column 11", "there is no filter uper", "did you mean upper?"},
		"\n\n  {{ name | replace('a') }}":           {"line 3, column 13", "replace lacks its argument new", "write | replace(old, new, count=-1)"},
		"{{ name | upper(1) }}":                     {"line 1, column 17", "an argument too many for upper", "write | upper"},
		"{{ name | trim(chrs='x') }}":               {"line 1, column 16", "trim has no argument chrs", "trim(chars=None)"},
		"{{ name | trim('x', chars='y') }}":         {"line 1, column 21", "an argument too many for trim"},
		"{{ name | trim('x',) }}":                   {"an argument of trim is empty"},
		"{{ name | trim('x' }}":                     {"line 1, column 1", "has no }}"},
		"{{ name | }}":                              {"line 1, column 9", "a filter's name is due"},
		"{{ | upper }}":                             {"line 1, column 4", "nothing stands before |"},
		"{{ not | upper }}":                         {"line 1, column 8", "nothing stands before |"},
		"{{ name is defned }}":                      {"line 1, column 12", "there is no test defned", "did you mean defined?"},
		"{{ [x | upper for x in xs] }}":             {"line 1, column 7", "inside of a comprehension", "upper(x)"},
		"{{ name +\n  * 2 }}":                       {"line 2, column 3", "name +"},
		"{{ 1 +\n  name }}":                         {"line 1", "1 +"},
		"{{ (name | length) / 0 }}":                 {"line 1, column 4", "(name | length) / 0", "zero"},
		"{{ name | join(', ') | sum }}":             {"line 1, column 4", "name | join(', ') | sum"},
		"{{ __piped_0 }}":                           {"names cannot contain __piped_"},
		"{{ name ":                                  {"line 1, column 1", "{{ has no }}"},
		"{{ 'a }}":                                  {"{{ has no }}", "quotes"},
		"{% if name ":                               {"{% has no %}"},
		"{# x":                                      {"the comment has no end"},
		"{{ }}":                                     {"an expression is due"},
		"{% if %}{% endif %}":                       {"an expression is due"},
		"x\n{% if name %}":                          {"line 2, column 14", "the {% if %} of line 2, column 1 has no end"},
		"{% for x in xs %}{% endif %}":              {"line 1, column 18", "{% endif %} stands where {% endfor %} is due", "close the {% for %} of line 1, column 1"},
		"{% if name %}{% endfor %}":                 {"{% endfor %} stands where {% endif %} is due"},
		"{% if name %}{% else %}{% elif name %}":    {"{% elif %} stands where {% endif %} is due"},
		"{% else %}":                                {"{% else %} ends nothing"},
		"{% endraw %}":                              {"{% endraw %} ends nothing"},
		"{% raw %}x":                                {"{% raw %} has no {% endraw %}"},
		"{% fro x in xs %}":                         {"there is no tag fro", "known are for, if, raw, set"},
		"{% include 'x' %}":                         {"there is no tag include: a template reads no other one"},
		"{% macro f() %}":                           {"there is no tag macro in this part of Jinja2"},
		"{% %}":                                     {"a tag begins with a word"},
		"{% for x xs %}{% endfor %}":                {"a for names what it goes over", "for item in items"},
		"{% for loop in xs %}{% endfor %}":          {"loop cannot be set"},
		"{% set true = 1 %}":                        {"true cannot be set"},
		"{% set a.b = 1 %}":                         {"a set gives one name a value"},
		"{% if name %}{% endif name %}":             {"name follows {% endif"},
		"{% for x in name.items %}{% endfor %}":     {"name.items is undefined"},
		"{% for x in 5 %}{% endfor %}":              {"5 is 5, and a for goes over a list"},
		"{% for a, b in xs %}{% endfor %}":          {"the for has 2 names, and an item is no list of 2"},
		"{% for x in xs %}{% endfor %}{{ x }}":      {"x is undefined"},
		"{{ (nane) }}":                              {"line 1, column 4", "nane is missing; available names: name, spec, xs"},
		"{{ name ) | upper }}":                      {"line 1, column 11", "nothing stands before |"},
		"{{ name | trim(]) }}":                      {"line 1"},
		"{{ x is }}":                                {"line 1"},
		"{% for x in xs %}{% else x %}{% endfor %}": {"x follows {% else"},
		"{% raw x %}{% endraw %}":                   {"x follows {% raw"},
		"{{ 1 if (1 +\n  %) }}":                     {"line 2, column 3"},
		"{{ lambda: 1 }}":                           {"lambda is not allowed"},
		"{{ name.__class__ }}":                      {"name.__class__ is undefined"},
		"{{ name.format.__globals__ }}":             {"undefined"},
	} {
		_, err := render(t, source, data)
		if err == nil {
			t.Errorf("%s is taken", source)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s does not say %q: %v", source, w, err)
			}
		}
		if strings.Contains(err.Error(), placeholder) && !strings.Contains(source, placeholder) {
			t.Errorf("%s shows a name of ours: %v", source, err)
		}
	}
}

// TestOnlyData: an attribute is a member of JSON data, and nothing of the host.
func TestOnlyData(t *testing.T) {
	got, err := render(t, `{{ m.upper }}{{ m['__class__'] | default('none of it') }} {{ ''.__class__ }} {{ [].append }}`, map[string]any{"m": map[string]any{"upper": "a member"}})
	if err != nil || got != "a membernone of it None None" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestStatic(t *testing.T) {
	for text, static := range map[string]bool{"": true, "a } b }} %} #} { {x}": true, "{{ x }}": false, "{% x": false, "a {# b #}": false} {
		tmpl, err := Parse(text)
		if err != nil {
			if static {
				t.Errorf("%q: %v", text, err)
			}
			continue
		}
		if tmpl.IsStatic() != static {
			t.Errorf("%q: %v", text, tmpl.IsStatic())
		}
		if got, err := tmpl.Render(expr.Map{}); static && (got != text || err != nil) {
			t.Errorf("%q renders as %q, %v", text, got, err)
		}
	}
}

// clock is a scope with a clock of its own.
type clock struct{ expr.Map }

func (clock) Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func TestScopeHasTheClock(t *testing.T) {
	tmpl, err := Parse("{{ str(utcnow())[:10] }}")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tmpl.Render(clock{}); err != nil || got != "2026-01-02" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := tmpl.Render(expr.Map{}); err != nil || !strings.HasPrefix(got, "20") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestToJSON(t *testing.T) {
	data := map[string]any{"v": map[string]any{"b": []any{json.Number("1.50"), nil, true}, "a": "<é\"\n>"}}
	if got, err := render(t, "{{ v | tojson }}", data); err != nil || got != `{"a":"<é\"\n>","b":[1.50,null,true]}` {
		t.Errorf("%s, %v", got, err)
	}
}

// TestLaziness: what is not needed is not looked up, and errors of what is come out.
func TestLaziness(t *testing.T) {
	for source, want := range map[string]string{
		`{{ 'a' if true else (missing | upper) }}`: "a",
		`{{ true or (missing | upper) }}`:          "True",
	} {
		if got, err := render(t, source, nil); err != nil || got != want {
			t.Errorf("%s: %q, %v", source, got, err)
		}
	}
	if got, err := render(t, `{{ false or (missing | upper) }}`, nil); err == nil || !strings.Contains(err.Error(), "missing is undefined") {
		t.Errorf("%q, %v", got, err)
	}
}

// TestLimits: each names what there is and what is allowed, and ends soon.
func TestLimits(t *testing.T) {
	many := make([]any, 20_000)
	data := map[string]any{"many": many, "text": strings.Repeat("x", 1<<16), "few": many[:100]}
	for source, want := range map[string]string{
		strings.Repeat("x", maxSource+1):         "the template has 262,145 bytes: the limit is 262,144",
		"{{ " + strings.Repeat("a", 9000) + "}}": "an expression has 9,000 bytes at line 1, column 4: the limit is 8,192",
		strings.Repeat("{% if x %}", 100):        "the template's tags nest 33 deep at line 1, column 321: the limit is 32",
		"{{ " + strings.Repeat("d(", 1) + strings.Repeat("x|d(", 40) + strings.Repeat(")", 41) + " }}":        "filters nest 33 deep",
		"{{ x" + strings.Repeat("|upper", 40) + " }}":                                                         "an expression has 33 filters and tests",
		"{% for x in many %}{% endfor %}":                                                                     "the template's loops take 10,001 turns at line 1, column 1: the limit is 10,000",
		"{% for x in few %}{% for y in few %}{% for z in few %}{% endfor %}{% endfor %}{% endfor %}":          "take 10,001 turns",
		"{% for x in few %}{{ text }}{% endfor %}":                                                            "the template makes 1,114,112 bytes at line 1, column 22: the limit is 1,048,576",
		"{% for x in few %}{% for y in few %}{{ 1 + 1 }}{% endfor %}{% endfor %}":                             "units of work (a name is one, another expression or a filter 25)",
		"{% for x in few %}{% for y in few %}{{ x | d(1) }}{% endfor %}{% endfor %}":                          "100,006 units of work",
		"{% for x in few %}{% set a = text * 8 %}{% set b = a + 'x' %}{% set c = [a, b, a, b] %}{% endfor %}": "bytes in its names",
		"{{ 2 ** 10 ** 9 }}":              "line 1",
		"{{ range(10 ** 9) | list }}":     "the limit is",
		"{{ 'x' * 10 ** 9 }}":             "the limit is",
		"{{ text | replace('x', text) }}": "the limit is",
	} {
		got, err := render(t, source, data)
		if err == nil {
			t.Errorf("%.60s renders %d bytes", source, len(got))
			continue
		}
		if kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %s: %v", source, kernel.CodeOf(err), err)
		}
	}
}

// TestTime is the last resort against expressions that are each within their limits.
func TestTime(t *testing.T) {
	tmpl, err := Parse("{% for x in range(4000) %}{{ sum(range(90000)) }}{% endfor %}")
	if err != nil {
		t.Fatal(err)
	}
	soon := standard
	soon.time = time.Millisecond
	_, err = tmpl.render(expr.Map{}, soon)
	if kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "takes too long at line 1, column 30: the limit is 1ms") {
		t.Error(err)
	}
}

func TestScopeIsNotChanged(t *testing.T) {
	data := map[string]any{"a": json.Number("1"), "xs": []any{"x"}}
	if got, err := render(t, "{% set a = 2 %}{% for xs in xs %}{{ xs }}{% endfor %}{{ a }}", data); err != nil || got != "x2" {
		t.Errorf("%q, %v", got, err)
	}
	if data["a"] != json.Number("1") || len(data) != 2 {
		t.Errorf("%v", data)
	}
}

// TestMacroNodes is what nodes_raw of a macro is for: YAML that a loop writes.
func TestMacroNodes(t *testing.T) {
	const raw = `{%- for step in steps %}
- kind: llm_node
  metadata: {name: "{{ name }}_{{ loop.index }}"}
  spec:
    human_message: {{ step.prompt | tojson }}
    max_retries: {{ step.retries | default(retries) }}
{%- if not loop.first %}
  dependencies: ["{{ name }}_{{ loop.index0 }}"]
{%- endif %}
{%- endfor %}
`
	got, err := render(t, raw, map[string]any{"name": "m", "retries": json.Number("2"), "steps": []any{
		map[string]any{"prompt": "Say \"{{topic}}\""}, map[string]any{"prompt": "b", "retries": json.Number("5")},
	}})
	const want = `
- kind: llm_node
  metadata: {name: "m_1"}
  spec:
    human_message: "Say \"{{topic}}\""
    max_retries: 2
- kind: llm_node
  metadata: {name: "m_2"}
  spec:
    human_message: "b"
    max_retries: 5
  dependencies: ["m_1"]
`
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
}

func TestCoerce(t *testing.T) {
	for text, want := range map[string]kernel.Value{
		"1": json.Number("1"), "-7": json.Number("-7"), "+7": json.Number("7"), "007": json.Number("7"), "-0": json.Number("0"), " 5\n": json.Number("5"),
		"12345678901234567890": json.Number("12345678901234567890"),
		"1.5":                  json.Number("1.5"), "1.0": json.Number("1.0"), "1.10": json.Number("1.1"), ".5": json.Number("0.5"), "5.": json.Number("5.0"), "0.": json.Number("0.0"),
		"-00.50": json.Number("-0.5"), "1e3": json.Number("1000.0"), "1E-2": json.Number("0.01"), "0e5": json.Number("0.0"),
		"true": true, "True": true, "YES": true, "false": false, "no": false, "No": false,
		"": "", " ": " ", "x": "x", "on": "on", "1.2.3": "1.2.3", "1e400": "1e400", "nan": "nan", "inf": "inf", ".": ".", "-": "-", "e5": "e5", "1_000": "1_000",
		"0x10": "0x10", "１": "１", "None": "None", " true": " true", "1 2": "1 2",
		strings.Repeat("9", 301): strings.Repeat("9", 301),
	} {
		if got := Coerce(text); got != want {
			t.Errorf("%q becomes %#v, want %#v", text, got, want)
		}
	}
}

// FuzzRender: nothing panics, everything ends within its limits, an error says
// where, and a template renders the same way twice.
func FuzzRender(f *testing.F) {
	g := readGolden(f)
	for _, c := range g.Renders {
		f.Add(c.Template)
	}
	for _, source := range g.Fails {
		f.Add(source)
	}
	tight := limits{output: 1 << 16, iterations: 300, work: 5_000, stored: 1 << 20, time: time.Second}
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := Parse(source)
		if err != nil {
			whole(t, source, err)
			return
		}
		if strings.Contains(source, "now") || strings.Contains(source, "timestamp") {
			return // the clock goes on
		}
		once, err := tmpl.render(expr.Map(g.Data), tight)
		if err != nil {
			whole(t, source, err)
			return
		}
		if tmpl.IsStatic() && once != source || len(once) > max(tight.output, len(source)) {
			t.Fatalf("%q renders as %q", source, once)
		}
		if twice, err := tmpl.render(expr.Map(g.Data), tight); err != nil || twice != once {
			t.Fatalf("%q renders as %q and then %q, %v", source, once, twice, err)
		}
		if _, err := kernel.EncodeJSON(Coerce(once)); err != nil {
			t.Fatal(err)
		}
	})
}

func whole(t *testing.T, source string, err error) {
	t.Helper()
	code := kernel.CodeOf(err)
	if code != kernel.CodePipeline && code != kernel.CodeLimit || !strings.Contains(err.Error(), "line ") && len(source) <= maxSource {
		t.Fatalf("%q: %s: %v", source, code, err)
	}
}

func FuzzCoerce(f *testing.F) {
	for _, s := range []string{"1", "-0.5e3", "007", "yes", ".", "1e999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := Coerce(text)
		if n, ok := v.(json.Number); ok {
			if _, err := kernel.DecodeJSON([]byte(n)); err != nil {
				t.Fatalf("%q becomes %q: %v", text, n, err)
			}
			if again := Coerce(string(n)); again != v {
				t.Fatalf("%q becomes %v and then %v", text, v, again)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("{{ spec.variables.env }}-{{ name | upper | default('x') }}"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseLargest parses the largest templates there can be.
func BenchmarkParseLargest(b *testing.B) {
	for name, part := range map[string]string{"names": "{{x}}", "tags": "{% if x %}{% endif %}", "braces": "{ } ", "filters": "{{x|d(1)|d(2)|d(3)|d(4)|d(5)|d(6)|d(7)|d(8)}}"} {
		source := strings.Repeat(part, maxSource/len(part))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Parse(source); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRender(b *testing.B) {
	data := expr.Map{"name": "Ada", "spec": map[string]any{"variables": map[string]any{"env": "dev"}}, "xs": make([]any, 100)}
	for name, source := range map[string]string{
		"names":  "{{ spec.variables.env }}-{{ name }}",
		"filter": "{{ name | upper }}",
		"loop":   "{% for x in xs %}{{ loop.index }},{% endfor %}",
	} {
		tmpl, err := Parse(source)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tmpl.Render(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
