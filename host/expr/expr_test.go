package expr

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/kernel"
)

func decode(t testing.TB, text string) Map {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Map(v.(map[string]any))
}

const sample = `{
	"a": {"b": [{"c": "x", "0": "zero"}, [10, 20]], "class": 1}, "users": [{"name": "A", "tags": ["p", "q"]}, {"name": "B"}],
	"$input": {"x": 5, "from": "me"}, "$item": {"n": 2}, "n": null, "s": "Hello", "i": 3, "f": 2.0, "e": 1E2, "big": 123456789012345678901234567890,
	"state": {"iteration": 2, "loop": {"count": 3}}, "items": [3, 1, 2], "d": {"z": 1, "a": {"k": null}, "get": 7}
}`

// TestValues are cases beside those of the reference and of Python: what hexDAG's
// documentation promises, and where the data decides.
func TestValues(t *testing.T) {
	scope := decode(t, sample)
	for source, want := range map[string]string{
		"users[0].name":                     `"A"`,
		"users.1.name":                      `"B"`,
		"users[0].tags.1":                   `"q"`,
		"a.b.0.c":                           `"x"`,
		"a.b.1.0 + a.b.1 . 1":               `30`,
		"a.b.0.0":                           `"zero"`,
		"a.b.7.c":                           `null`,
		"a.b.c":                             `null`,
		"s.upper":                           `null`,
		"s.__class__":                       `null`,
		"items.append":                      `null`,
		"(items + [4]).3":                   `4`,
		"dict(k={'v': 1}).k.v":              `1`,
		"default(n, users)[1].name":         `"B"`,
		"reversed(users)[0].name.lower()":   `"b"`,
		"[u.name for u in users]":           `["A","B"]`,
		"[u.tags.0 for u in users]":         `["p",null]`,
		"$input.x * $item.n":                `10`,
		"$input.from":                       `"me"`,
		"[x for x in [x for x in items]]":   `[3,1,2]`,
		"[[i, x] for x in items if x > i]":  `[]`,
		"[i for i in [1]] + [i]":            `[1,3]`,
		"{k: v for k, v in d.items()}":      `{"a":{"k":null},"get":7,"z":1}`,
		"d.get('z') + d.get":                `8`,
		"d.keys()":                          `["a","get","z"]`,
		"f":                                 `2.0`,
		"f * 18":                            `36.0`,
		"e":                                 `100.0`,
		"i / 1":                             `3.0`,
		"big + 1":                           `123456789012345678901234567891`,
		"1e16":                              `1e+16`,
		"Decimal('1.10') * 2":               `2.20`,
		"range(3), set([1, 1]), d.values()": `[[0,1,2],[1],[{"k":null},7,1]]`,
		"{1: 'a', None: 2, True: 'b'}":      `{"1":"b","null":2}`,
		"now()":                             `"2026-01-31T12:30:00.250000+00:00"`,
		"str(utcnow())":                     `"2026-01-31 12:30:00.250000+00:00"`,
		"timestamp(now()) - timestamp('2026-01-31T12:29:00Z')": `60.25`,
		"timestamp() == timestamp(now())":                      `true`,
		"format(now(), '%Y-%m-%d %H:%M')":                      `"2026-01-31 12:30"`,
		"state.iteration":                                      `2`,
		"state.loop.zz":                                        `null`,
		"default(state.zz, 0)":                                 `0`,
		"default(nope.a.b, 1)":                                 `1`,
		"nope or 'x'":                                          `"x"`,
		"nope != 1":                                            `true`,
		"nope < 1":                                             `false`,
		"nope in items":                                        `false`,
		"isempty(nope)":                                        `true`,
		"bool(nope)":                                           `false`,
		"1 in n":                                               `false`,
		"'a' < 1":                                              `false`,
		"not ('a' < 1)":                                        `true`,
		"1 < 2 < 'a'":                                          `false`,
		"s[0]":                                                 `null`,
		"s[1:3]":                                               `"el"`,
		"n[0].x[1:]":                                           `null`,
		"items[9]":                                             `null`,
		"items['a']":                                           `null`,
		"a\n  .class # the end\n + \\\n 1":                     `2`,
		"'{0.name} {0[tags][1]} {u.name!r:>5}'.format(users[0], u=users[1])": `"A q   'B'"`,
		"upper(None) + lower(True)":      `"NONEtrue"`,
		"'straße'.upper()":               `"STRASSE"`,
		"split(5) + split('a b')":        `[5,"a","b"]`,
		"round(number=2.567, ndigits=1)": `2.6`,
		"max(items, default=0)":          `3`,
		"int('ff', base=16)":             `255`,
	} {
		p, err := Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		v, err := p.Eval(clock{scope})
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got, err := kernel.EncodeJSON(v); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", source, got, err, want)
		}
	}
}

func TestSyntaxErrors(t *testing.T) {
	for source, words := range map[string][]string{
		"":                     {"empty"},
		"a +":                  {"column 4", "ends where a value is due"},
		"a b":                  {"column 3", "b is not expected"},
		"é + lambda: 1":        {"column 5", "lambda is not allowed", "sorted takes no key"},
		"a and\n  b @ c":       {"line 2, column 5", "@ is not allowed"},
		"{1, 2}":               {"column 1", "set literals", "set([1, 2])"},
		"sum(x for x in y)":    {"column 7", "generator expressions", "square brackets"},
		"(x for x in y)":       {"generator expressions"},
		"f'{a}'":               {"f-strings", "format"},
		"b'a'":                 {"bytes"},
		"(y := 1)":             {"column 4", ":="},
		"a = 1":                {"column 3", "compare with =="},
		"a === 1":              {"==="},
		"a && b":               {"write and"},
		"a || b":               {"write or"},
		"!a":                   {"write not"},
		"a ? b : c":            {"x if test else y"},
		"a ?? b":               {"default(a, b)"},
		"a | default('x')":     {"column 3", "default(value, x)"},
		"a & 1":                {"bit operator &"},
		"~a":                   {"bit operator ~"},
		"1 << 2":               {"<<"},
		"*a":                   {"unpacked"},
		"max(*a)":              {"unpacked"},
		"dict(**a)":            {"unpacked"},
		"{**a}":                {"unpacked"},
		"[*a]":                 {"unpacked"},
		"import os":            {"import", "not allowed"},
		"class":                {"class", "a['class']"},
		"eval('1')":            {"there is no function eval"},
		"uper(s)":              {"did you mean upper?"},
		"s.title()":            {"column 3", "there is no method title", "known are"},
		"s.uper()":             {"did you mean upper?"},
		"s.format_map(a)":      {"no method format_map"},
		"f(1)(2)":              {"there is no function f"},
		"len(a)(2)":            {"only functions and methods can be called"},
		"(a)(1)":               {"only functions and methods"},
		"len()":                {"len lacks its argument collection", "it is len(collection, /)"},
		"len(1, 2)":            {"len takes 1 arguments, and 2 are given"},
		"len(collection=a)":    {"len has no argument collection"},
		"round(1, number=2)":   {"gets its argument number twice"},
		"round(1, n=2)":        {"round has no argument n"},
		"round(ndigits=2, 1)":  {"an argument without a name follows"},
		"dict(a=1, a=2)":       {"given twice"},
		"sorted(a, True)":      {"sorted takes 1 arguments"},
		"s.upper(1)":           {"upper takes 0 arguments"},
		"a.":                   {"a name or an index is due"},
		"a.'b'":                {"a name or an index is due"},
		"a.$b":                 {"a name or an index is due"},
		"$ a":                  {"a name is due after $"},
		"[1, 2":                {"column 1", "the [ is never closed"},
		"a[1":                  {"column 2", "the [ is never closed"},
		"len(1":                {"the ( is never closed"},
		"{'a': 1":              {"the { is never closed"},
		"(1]":                  {"column 3", "] is not expected"},
		"'abc":                 {"column 1", "a string has no end"},
		"'a\nb'":               {"no end on its line"},
		"'\\ud800'":            {"escape is no character"},
		"'\\xg0'":              {"escape is no character"},
		"'\\N{DASH}'":          {"\\N{...}"},
		"012":                  {"does not begin with 0"},
		"1__0":                 {"underscores"},
		"0x":                   {"this is no number"},
		"1x":                   {"runs into 'x'"},
		"1j":                   {"complex"},
		"1e999":                {"too large for a float"},
		"a if b":               {"else is due"},
		"[x for x.y in z]":     {". is not expected"},
		"[x for 1 in z]":       {"plain name"},
		"[x for $x in z]":      {"plain name"},
		"[x for *x in z]":      {"plain name"},
		"[x async for x in y]": {"async"},
		"a; b":                 {"without statements"},
		"...":                  {"..."},
		"a += 1":               {"+= is not allowed"},
		"a \x00 b":             {"means nothing here"},
		"a \u202e b":           {"means nothing here"},
		"\xff":                 {"UTF-8"},
		"not":                  {"ends where a value is due"},
		"a not b":              {"not is not expected"},
		"yield a":              {"yield is not allowed"},
		"`a`":                  {"backquote"},
		"a.b.0x1":              {"runs into 'x'"},
	} {
		_, err := Compile(source)
		if kernel.CodeOf(err) != kernel.CodeExpression {
			t.Errorf("%q: %v", source, err)
			continue
		}
		checkError(t, err, kernel.CodeExpression)
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q: %s; nothing says %q", source, err, word)
			}
		}
		if kernel.CodeExpression.Class() != kernel.ClassBadInput {
			t.Error("a syntax error is bad input")
		}
	}
}

func TestFailures(t *testing.T) {
	scope := decode(t, sample)
	scope["go"] = struct{ Secret string }{"s3cret"}
	scope["number"] = json.Number("12abc")
	scope["far"] = json.Number("1e400")
	for source, words := range map[string][]string{
		"nope":                    {"nope is missing", "available names: $input, $item, a, big", "default(nope, ...)"},
		"true":                    {"true is missing", "write True"},
		"null.x":                  {"null.x is missing", "write None"},
		"state.zz":                {"state.zz is missing"},
		"i + nope.x":              {"column 3", "nope.x is missing"},
		"-nope":                   {"nope is missing"},
		"len(nope)":               {"column 1", "nope is missing"},
		"[1, nope]":               {"nope is missing"},
		"items[nope]":             {"nope is missing"},
		"i and nope":              {"nope is missing"},
		"n + 1":                   {"column 3", "unsupported operand types for +: None and an int", "default(x, 0)"},
		"s + 1":                   {"a str and an int", "str(x)"},
		"1 / 0":                   {"column 3", "division by zero", "if b else 0"},
		"1 % 0.0":                 {"division by zero"},
		"[1 / x for x in [1, 0]]": {"column 4", "division by zero"},
		"len(n)":                  {"None has no len", "default(x, [])"},
		"[x for x in n]":          {"column 13", "None has no items"},
		"[x for x, y in items]":   {"an int has no items"},
		"[x for x, y in [[1]]]":   {"an item has 1 parts, and the loop names 2"},
		"sorted([1, 'a'])":        {"have no order"},
		"min([])":                 {"min of an empty list", "default=0"},
		"sorted(items, key=s)":    {"takes no key"},
		"items.upper()":           {"a list has no method upper"},
		"s.get('x')":              {"a str has no method get"},
		"s.index('z')":            {"not found", "find gives -1"},
		"{[1]: 2}":                {"a list cannot be a key"},
		"int('x')":                {"no integer"},
		"float('inf')":            {"the result is inf", "JSON has no such number"},
		"far":                     {"JSON has no such number"},
		"1e308 * 10 - 1e308 * 10": {"nan"},
		"10.0 ** 400":             {"too large for a float"},
		"(0 - 8) ** 0.5":          {"complex"},
		"{(1, 2): 3}":             {"JSON's names are text"},
		"{1: 2, '1': 3}":          {"two keys are both '1'"},
		"'{}'.format()":           {"there is no argument 0"},
		"'{x}'.format(y=1)":       {"there is no argument 'x'"},
		"'{0.upper}'.format(s)":   {"there is no 0.upper"},
		"'{0.__class__.__init__.__globals__}'.format(d)": {"there is no 0.__class__"},
		"'{'.format(1)":      {"never closed"},
		"'%d' % s":           {"a number is due, not a str"},
		"'%s %s' % 1":        {"fewer arguments"},
		"format(s, 'd')":     {"text has the formats"},
		"format(items, 'x')": {"a list has no formats"},
		"go":                 {"the scope gave a struct"},
		"go.Secret + 'x'":    {"None and a str"},
		"go + 1":             {"which is not JSON"},
		"str(go)":            {"which is not JSON"},
		"number":             {"12abc"},
		"s[::0]":             {"the step of a slice is zero"},
		"i[1:]":              {"an int cannot be sliced"},
		"range(1, 2, 0)":     {"the step of range is zero"},
		"now() - now()":      {"a datetime and a datetime"},
		"Decimal('1') + 0.5": {"a Decimal and a float"},
	} {
		p, err := Compile(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		v, err := p.Eval(scope)
		if err == nil {
			t.Errorf("%s: no error, but %v", source, v)
			continue
		}
		checkError(t, err, kernel.CodeExpressionFailed)
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %s; nothing says %q", source, err, word)
			}
		}
		if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s shows what the host holds: %s", source, err)
		}
	}
}

func TestPredicate(t *testing.T) {
	scope := decode(t, sample)
	for source, want := range map[string]string{
		"i > 2": "true", "i > 3": "false", "''": "false", "users": "true", "nope": "nope is missing", "1 / 0": "division by zero",
		"nope.x > 1": "false", "not nope": "true", "range(10**7)": "true", "{(1, 2): 3}": "true",
	} {
		p, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		got, err := p.Predicate(scope)
		switch {
		case want == "true" || want == "false":
			if err != nil || got != (want == "true") {
				t.Errorf("%s: %v, %v", source, got, err)
			}
		case got || err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, %v", source, got, err)
		}
	}
}

func TestReferences(t *testing.T) {
	for source, want := range map[string][]Reference{
		"1 + 2": nil,
		"a.b.0.c > $input.x and a": {
			{[]string{"a", "b", "0", "c"}, 0}, {[]string{"$input", "x"}, 10}, {[]string{"a"}, 23},
		},
		"'y' if t.a else len(u.items())":         {{[]string{"t", "a"}, 7}, {[]string{"u"}, 20}},
		"[x.y + z for x in rows.all if x.k > w]": {{[]string{"z"}, 7}, {[]string{"rows", "all"}, 18}, {[]string{"w"}, 36}},
		"[x for x in x]":                         {{[]string{"x"}, 12}},
		"users[i.n].name":                        {{[]string{"users"}, 0}, {[]string{"i", "n"}, 6}},
		"max(len, default=min)":                  {{[]string{"len"}, 4}, {[]string{"min"}, 17}},
		"'{a.b}'.format(a=c.d)":                  {{[]string{"c", "d"}, 17}},
		"{k: [v for v in k] for k in d}":         {{[]string{"d"}, 28}},
	} {
		p, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, p.References()); diff != "" {
			t.Errorf("%s: %s", source, diff)
		}
		if p.Source() != source {
			t.Errorf("the source of %s is %s", source, p.Source())
		}
	}
}

func TestFunctions(t *testing.T) {
	want := strings.Fields("Decimal abs all any bool coalesce contains default dict endswith float format int isempty isnone join len list lower lstrip max min now pow range replace reversed round rstrip set sorted split startswith str strip sum timestamp tuple upper utcnow zip")
	if diff := cmp.Diff(want, Functions()); diff != "" {
		t.Error(diff)
	}
	methods := strings.Fields("copy count endswith find format get index items join keys lower lstrip replace rstrip split startswith strip upper values")
	if diff := cmp.Diff(methods, methodNames()); diff != "" {
		t.Error(diff)
	}
}

func TestStr(t *testing.T) {
	v := decode(t, `{"v": {"b": [1, 1.0, true, null, "it's \u00e9\n"], "a": {}, "n": 12345678901234567890123456789012345678901234567890, "x": "say \"hi\" to it's"}}`)["v"]
	const want = `{'a': {}, 'b': [1, 1.0, True, None, "it's é\n"], 'n': 12345678901234567890123456789012345678901234567890, 'x': 'say "hi" to it\'s'}`
	if got := Repr(v); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := Str(v); got != want {
		t.Errorf("%s", got)
	}
	for in, want := range map[any]string{"a'b": "a'b", json.Number("2.50"): "2.5", json.Number("1e3"): "1000.0", true: "True", nil: "None", 7: "7", 0.5: "0.5"} {
		if got := Str(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
	long := json.Number(strings.Repeat("9", 5000))
	if got := Str([]any{long}); got != "["+string(long)+"]" {
		t.Errorf("a long number is shown as %.40s", got)
	}
	if got := Repr([]any{struct{ secret string }{"s3cret"}}); got != "<the scope gave a struct { secret string }, which is not JSON>" {
		t.Errorf("what is no JSON is shown as %s", got)
	}
	if got := Str(strings.Repeat("x", 5<<20)); len(got) != 5<<20 {
		t.Errorf("a long text has %d bytes", len(got))
	}
}

// TestDataStays: what an evaluation gives back of the data is the data itself, and
// nothing of it is changed.
func TestDataStays(t *testing.T) {
	scope := decode(t, sample)
	before, _ := kernel.EncodeJSON(map[string]any(scope))
	for _, source := range []string{"users", "[users, sorted(items), reversed(items), items[::-1], dict(d, q=1), items * 2, items.copy()]", "{'u': users, 'all': [a, a]}"} {
		p, err := Compile(source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Eval(scope); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
	if after, _ := kernel.EncodeJSON(map[string]any(scope)); string(after) != string(before) {
		t.Errorf("the data changed: %s", after)
	}
	large := make([]any, maxItems*3)
	p, err := Compile("large")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := p.Eval(Map{"large": large}); err != nil || len(v.([]any)) != len(large) {
		t.Errorf("data beyond the limits is not passed on: %v", err)
	}
}

func TestGoNumbers(t *testing.T) {
	p, err := Compile("[i + 1, l * 2, f / 2]")
	if err != nil {
		t.Fatal(err)
	}
	v, err := p.Eval(Map{"i": 1, "l": int64(1) << 62, "f": 3.0})
	if diff := cmp.Diff([]any{json.Number("2"), json.Number("9223372036854775808"), json.Number("1.5")}, v); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestConcurrent(t *testing.T) {
	p, err := Compile("[x * y for x in items for y in items if x != y] + [len(s.split('l')), format(i, '03d')]")
	if err != nil {
		t.Fatal(err)
	}
	scope := decode(t, sample)
	want, err := p.Eval(scope)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if got, err := p.Eval(scope); err != nil || !cmp.Equal(want, got) {
					t.Error(got, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// ticking counts the readings of its clock.
type ticking struct {
	Map
	readings *int
}

func (s ticking) Now() time.Time {
	*s.readings++
	return time.Unix(int64(*s.readings), 0)
}

func TestClockIsReadOnce(t *testing.T) {
	p, err := Compile("now() == utcnow() and timestamp(now()) == timestamp()")
	if err != nil {
		t.Fatal(err)
	}
	readings := 0
	if v, err := p.Eval(ticking{Map{}, &readings}); v != true || err != nil || readings != 1 {
		t.Errorf("%v, %v, %d readings", v, err, readings)
	}
	without, err := Compile("now() > now()")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := without.Eval(Map{}); v != false || err != nil {
		t.Errorf("the machine's clock: %v, %v", v, err)
	}
}

// TestErrorsAreShort: whatever the source and the names are.
func TestErrorsAreShort(t *testing.T) {
	_, err := Compile("'" + strings.Repeat("x", 50_000))
	var e *kernel.Error
	if !errors.As(err, &e) || len(e.Error()) > 1500 {
		t.Errorf("%v", err)
	}
	names := Map{}
	for i := range 200 {
		names[strings.Repeat("n", i+1)] = nil
	}
	p, err := Compile("nope")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Eval(names)
	if !errors.As(err, &e) || !strings.Contains(e.Why, "available names: n, nn, nnn") || len(e.Error()) > 1500 {
		t.Errorf("%v", err)
	}
	if _, err = p.Eval(Map{}); !errors.As(err, &e) || !strings.Contains(e.Why, "there are no names here") {
		t.Errorf("%v", err)
	}
}
