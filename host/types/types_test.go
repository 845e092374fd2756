package types

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
)

// value decodes JSON.
func value(t testing.TB, text string) kernel.Value {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func object(t testing.TB, custom, doc string, order ...string) *Object {
	t.Helper()
	r, err := NewRegistry(value(t, custom).(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	o, err := r.Object(value(t, doc).(map[string]any), order)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

const bad = "BAD"

// TestCoerce takes every type through what it accepts and refuses.
func TestCoerce(t *testing.T) {
	for typ, cases := range map[string][][2]string{
		"str":   {{`"a"`, `"a"`}, {`" a "`, `" a "`}, {`""`, `""`}, {`42`, bad}, {`true`, bad}, {`null`, bad}, {`[]`, bad}, {`{}`, bad}},
		"str?":  {{`"a"`, `"a"`}, {`null`, `null`}, {`42`, bad}},
		"int":   {{`42`, `42`}, {`-0`, `0`}, {`5.0`, `5`}, {`5e2`, `500`}, {`"42"`, `42`}, {`" 42 "`, `42`}, {`9007199254740993`, `9007199254740993`}, {`4.2`, bad}, {`"4.2"`, bad}, {`"0x1"`, bad}, {`"1_0"`, bad}, {`true`, bad}, {`null`, bad}, {`1e999999999`, bad}, {`"x"`, bad}},
		"int?":  {{`null`, `null`}, {`1`, `1`}, {`"x"`, bad}},
		"float": {{`5`, `5.0`}, {`2.50`, `2.5`}, {`1e3`, `1000.0`}, {`1e22`, `1e+22`}, {`0.00001`, `1e-05`}, {`"3.5"`, `3.5`}, {`-0.0`, `-0.0`}, {`1e399`, bad}, {`"inf"`, bad}, {`"nan"`, bad}, {`true`, bad}, {`null`, bad}},
		"bool":  {{`true`, `true`}, {`false`, `false`}, {`"True"`, `true`}, {`"false"`, `false`}, {`"yes"`, bad}, {`1`, bad}, {`null`, bad}},
		"list":  {{`[1]`, `[1]`}, {`{}`, bad}, {`"[]"`, bad}, {`null`, bad}},
		"list?": {{`null`, `null`}},
		"dict":  {{`{"a":1}`, `{"a":1}`}, {`[]`, bad}, {`null`, bad}},
		"Any":   {{`null`, `null`}, {`1`, `1`}, {`[{"a":null}]`, `[{"a":null}]`}},
		"currency": {
			{`"$1,200"`, `1200.0`}, {`"1,200.50"`, `1200.5`}, {`"1.200,50 €"`, `1200.5`}, {`"€12,50"`, `12.5`}, {`"12.345"`, `12.345`}, {`1200`, `1200.0`}, {`1.5`, `1.5`},
			{`"-$5"`, `-5.0`}, {`"$-5"`, `-5.0`}, {`"−5 EUR"`, `-5.0`}, {`"re-order: $5"`, `5.0`}, {`"US$1,000,000"`, `1000000.0`}, {`"1 200 kr"`, `1200.0`}, {`"CHF 1'200.00"`, `1200.0`}, {`"₹1,20,000"`, `120000.0`},
			{`"approx. $5"`, `5.0`}, {`"5,- €"`, `5.0`}, {`"$.50"`, `0.5`}, {`"The total is $1,200."`, `1200.0`},
			{`"N/A"`, `null`}, {`""`, `null`}, {`null`, `null`}, {`"free"`, `null`}, {`"$1.5M"`, `null`}, {`"2k"`, `null`}, {`"10 to 20"`, `null`}, {`"1-2"`, `null`}, {`"1,2,3"`, `null`}, {`"5%"`, `null`}, {`"5-"`, `null`},
			{`true`, bad}, {`[]`, bad}, {`1e399`, bad},
		},
		"flexible_bool": {{`"Yes"`, `true`}, {`"on"`, `true`}, {`1`, `true`}, {`"y"`, `true`}, {`" NO "`, `false`}, {`"off"`, `false`}, {`0`, `false`}, {`true`, `true`}, {`false`, `false`}, {`null`, `null`}, {`"n/a"`, `null`}, {`"maybe"`, bad}, {`2`, bad}, {`[]`, bad}, {`{}`, bad}},
		"score":         {{`0.9`, `0.9`}, {`1`, `1.0`}, {`7`, `1.0`}, {`-3`, `0.0`}, {`"0.25"`, `0.25`}, {`1e300`, `1.0`}, {`"high"`, `null`}, {`"N/A"`, `null`}, {`null`, `null`}, {`true`, bad}, {`[]`, bad}},
		"upper_str":     {{`" ab "`, `"AB"`}, {`5`, `"5"`}, {`true`, `"TRUE"`}, {`"  "`, `null`}, {`null`, `null`}, {`[]`, bad}},
		"lower_str":     {{`" AB "`, `"ab"`}, {`null`, `null`}, {`{}`, bad}},
		"trimmed_str":   {{`" A b\n"`, `"A b"`}, {`1.50`, `"1.50"`}, {`""`, `null`}, {`[]`, bad}},
		"nullable_str":  {{`"N/A"`, `null`}, {`" tbd "`, `null`}, {`"Not specified"`, `null`}, {`"--"`, `null`}, {`""`, `null`}, {`"unknown"`, `null`}, {`" x "`, `" x "`}, {`null`, `null`}, {`5`, bad}},
	} {
		o := object(t, `{}`, `{"f":"`+typ+`"}`)
		for _, c := range cases {
			got, err := o.Coerce(value(t, `{"f":`+c[0]+`}`))
			if c[1] == bad {
				if err == nil {
					t.Errorf("%s takes %s as %v", typ, c[0], got)
				} else if !strings.Contains(err.Error(), "f: expected "+strings.TrimSuffix(typ, "?")) || kernel.CodeOf(err) != kernel.CodeFailed {
					t.Errorf("%s of %s: %v", typ, c[0], err)
				}
				continue
			}
			if diff := cmp.Diff(value(t, `{"f":`+c[1]+`}`), got); err != nil || diff != "" {
				t.Errorf("%s of %s: %v\n%s", typ, c[0], err, diff)
			}
		}
	}
}

func TestCustomTypes(t *testing.T) {
	for _, c := range []struct{ definition, in, want string }{
		{`{"base":"str","pattern":"MC-?(\\d+)"}`, `"call MC-123 now"`, `"123"`},
		{`{"pattern":"MC-?\\d+"}`, `"call MC-123 now"`, `"MC-123"`},
		{`{"pattern":["A(\\d)","B(\\d)"]}`, `"B7 A8"`, `"8"`},
		{`{"pattern":["A(\\d)","B(\\d)"]}`, `"B7"`, `"7"`},
		{`{"pattern":"x(y)?"}`, `"x"`, `"x"`},
		{`{"pattern":"A(\\d)"}`, `"none of it"`, `null`},
		{`{"pattern":"A(\\d)","default":"?"}`, `"none of it"`, `"?"`},
		{`{"nulls":"common"}`, `" TBD "`, `null`},
		{`{"nulls":["later","Soon"],"default":"now"}`, `"soon"`, `"now"`},
		{`{"nulls":["later"]}`, `"tbd"`, `"tbd"`},
		{`{}`, `"  a  "`, `"a"`},
		{`{"trim":false}`, `"  a  "`, `"  a  "`},
		{`{}`, `"   "`, `null`},
		{`{}`, `12`, `"12"`},
		{`{}`, `null`, `null`},
		{`{}`, `[]`, bad},
		{`{"strip":"-() "}`, `"(03) 12-34"`, `"031234"`},
		{`{"upper":true,"max_length":2}`, `"ßabc"`, `"ßA"`},
		{`{"lower":true}`, `"ABC"`, `"abc"`},
		{`{"max_length":3}`, `"äöüß"`, `"äöü"`},
		{`{"base":"int"}`, `"3.9"`, `3`},
		{`{"base":"int"}`, `"-3.9"`, `-3`},
		{`{"base":"int","clamp":[1,10]}`, `42`, `10`},
		{`{"base":"int","clamp":[1,10]}`, `"-7"`, `1`},
		{`{"base":"int"}`, `"many"`, `null`},
		{`{"base":"int","default":0}`, `"many"`, `0`},
		{`{"base":"int"}`, `12345678901234567890123`, `12345678901234567890123`},
		{`{"base":"float","strip":"%,","clamp":[0,100]}`, `"1,250%"`, `100.0`},
		{`{"base":"float","pattern":"([\\d.]+) kg"}`, `"about 2.5 kg"`, `2.5`},
		{`{"base":"float"}`, `1`, `1.0`},
		{`{"base":"float"}`, `1e399`, `null`},
		{`{"base":"bool","true_values":["ja"],"false_values":["nein"]}`, `"Ja"`, `true`},
		{`{"base":"bool","true_values":["ja"],"false_values":["nein"]}`, `"NEIN"`, `false`},
		{`{"base":"bool"}`, `"on"`, `true`},
		{`{"base":"bool","false_values":["on"]}`, `"on"`, `false`},
		{`{"base":"bool"}`, `false`, `false`},
		{`{"base":"bool"}`, `1`, `true`},
		{`{"base":"bool"}`, `"perhaps"`, bad},
		// The order: the pattern sees the trimmed text; strip sees what it picked;
		// the clamp sees the number; capitals come before the cut.
		{`{"pattern":"^<(.*)>$","strip":"-","upper":true,"max_length":3}`, `" <a-bcd> "`, `"ABC"`},
		{`{"base":"int","nulls":["-1"],"clamp":[0,5],"default":3}`, `-1`, `3`},
	} {
		o := object(t, `{"mine":`+c.definition+`}`, `{"f":"mine"}`)
		got, err := o.Coerce(value(t, `{"f":`+c.in+`}`))
		if c.want == bad {
			if err == nil || !strings.Contains(err.Error(), "f: expected mine") {
				t.Errorf("%s of %s: %v, %v", c.definition, c.in, got, err)
			}
			continue
		}
		if diff := cmp.Diff(value(t, `{"f":`+c.want+`}`), got); err != nil || diff != "" {
			t.Errorf("%s of %s: %v\n%s", c.definition, c.in, err, diff)
		}
	}
}

func TestCustomDefaultFillsAnOptionalField(t *testing.T) {
	o := object(t, `{"level":{"base":"int","default":3}}`, `{"f":"level?","g":"level"}`)
	got, err := o.Coerce(value(t, `{"g":null}`))
	if diff := cmp.Diff(value(t, `{"f":3,"g":3}`), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

// TestDefinitionsAreChecked: every mistake is named, all at once.
func TestDefinitionsAreChecked(t *testing.T) {
	_, err := NewRegistry(value(t, `{
		"a": {"base": "string"},
		"b": {"patern": "x"},
		"c": {"pattern": "(?=x)"},
		"d": {"clamp": [0, 1]},
		"e": {"base": "int", "clamp": [3, 1]},
		"f": {"base": "int", "clamp": [1]},
		"g": {"base": "int", "clamp": ["1", 2]},
		"h": {"upper": true, "lower": true},
		"i": {"base": "int", "default": "x"},
		"j": {"base": "int", "default": "7"},
		"k": {"max_length": 0},
		"l": {"true_values": ["x"]},
		"m": {"base": "bool", "true_values": ["x"], "false_values": ["X"]},
		"n": {"nulls": "comon"},
		"o": {"trim": "yes"},
		"p": {"pattern": [1]},
		"q": "str",
		"score": {},
		"two words": {},
		"r": {"strip": 5},
		"s": {"nulls": 5}
	}`).(map[string]any))
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"custom_types.a.base: string is no base (write one of str, int, float, bool)",
		"custom_types.b.patern: a type has no such member (did you mean pattern?)",
		"custom_types.c.pattern: error parsing regexp", "RE2's syntax",
		"custom_types.d.clamp: it is for base int or float; this type's is str",
		"custom_types.e.clamp: 3 is above 1",
		"custom_types.f.clamp: it must be a list of two numbers",
		`custom_types.g.clamp: its items must be numbers, one is the text "1"`,
		"custom_types.h.upper: a text cannot be",
		`custom_types.i.default: it must be int as the base is, this is the text "x"`,
		`custom_types.j.default: it must be int as the base is, this is the text "7"`,
		"custom_types.k.max_length: it must be a positive integer, this is the number 0",
		"custom_types.l.true_values: it is for base bool",
		"custom_types.m.false_values: x is among true_values, too",
		"custom_types.n.nulls: comon is no set of texts (write common, or a list)",
		`custom_types.o.trim: it must be a boolean, this is the text "yes"`,
		"custom_types.p.pattern: its items must be strings, one is the number 1",
		`custom_types.q must be a mapping, this is the text "str"`,
		"custom_types.score: hexDAG has a type of that name",
		"two words cannot be the name of a type",
		"custom_types.r.strip: it must be a string",
		"custom_types.s.nulls: it must be a list of strings, this is the number 5",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q:\n%v", want, err)
		}
	}
	all := err.(interface{ Unwrap() []error }).Unwrap()
	if len(all) != 21 {
		t.Errorf("%d errors, want 21", len(all))
	}
	for _, one := range all {
		var e *kernel.Error
		if !errors.As(one, &e) || e.Code != kernel.CodePipeline || e.Fix == "" {
			t.Errorf("%v has no code or no fix", one)
		}
	}
}

func TestSchemasAreChecked(t *testing.T) {
	r, err := NewRegistry(value(t, `{"vat_id":{}}`).(map[string]any))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Object(value(t, `{"a":"string","b":"curency","c":"vat_di?","d":5,"e":{"f":"strr","g":{"h":[]}},"i":"str??","j":{"type":"array","items":5},"k":"\u001b"}`).(map[string]any), nil)
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"field a: there is no type string (did you mean str?)",
		"field b: there is no type curency (did you mean currency?)",
		"field c: there is no type vat_di? (did you mean vat_id?)",
		"the type of field d must be a name or a mapping, this is the number 5",
		"field e.f: there is no type strr (did you mean str?)",
		"the type of field e.g.h must be a name or a mapping, this is a list",
		"field i: there is no type str??",
		"the type of field j cannot be used",
		`there is no type \x1b (known are Any, bool, currency, dict, flexible_bool, float, int, list, lower_str, nullable_str, score, str, trimmed_str, upper_str, vat_id)`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q:\n%v", want, err)
		}
	}
	deep := map[string]any{"x": "str"}
	for range 40 {
		deep = map[string]any{"x": deep}
	}
	if _, err := r.Object(deep, nil); err == nil || !strings.Contains(err.Error(), "deeper than 24") {
		t.Errorf("deep: %v", err)
	}
	wide := map[string]any{}
	for i := range 3000 {
		wide[strings.Repeat("x", i+1)] = "str"
	}
	if _, err := r.Object(wide, nil); err == nil || !strings.Contains(err.Error(), "more than 2000 values") {
		t.Errorf("wide: %v", err)
	}
}

func TestJSONSchemaOfFields(t *testing.T) {
	o := object(t, `{"vat":{"description":"a VAT number"}}`, `{"z":"int","a":"str?","s":"score?","v":"vat","any":"Any","n":{"m":"list"},"e":{"enum":["x","y"]},"o":{"type":["string","null"]}}`, "z", "n", "gone")
	want := value(t, `{"type":"object","required":["z","n","any","e","v"],"properties":{
		"z":{"type":"integer"},
		"a":{"type":["string","null"]},
		"s":{"type":["number","string","null"],"description":"a number from 0.0 to 1.0"},
		"v":{"type":["string","number","boolean","null"],"description":"a VAT number"},
		"any":{},
		"n":{"type":"object","required":["m"],"properties":{"m":{"type":"array"}}},
		"e":{"enum":["x","y"]},
		"o":{"type":["string","null"]}}}`)
	if diff := cmp.Diff(want, o.JSONSchema()); diff != "" {
		t.Error(diff)
	}
	wantFields := []Field{{"z", "int", true}, {"n", "dict", true}, {"a", "str?", false}, {"any", "Any", true}, {"e", "value", true}, {"o", "string or null", false}, {"s", "score?", false}, {"v", "vat", true}}
	if diff := cmp.Diff(wantFields, o.Fields()); diff != "" {
		t.Error(diff)
	}
}

// TestGoldenStructured is the reference's llm_structured: a missing nullable field
// is null.
func TestGoldenStructured(t *testing.T) {
	got, err := object(t, `{}`, `{"a":"int","b":"str?"}`).Coerce(value(t, `{"a": 5}`))
	if diff := cmp.Diff(value(t, `{"a":5,"b":null}`), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}

func TestCoerceReportsEveryField(t *testing.T) {
	o := object(t, `{}`, `{"a":"int","b":"str","c":{"d":"list","e":"score"},"f":{"type":"integer","minimum":3},"g":"str?"}`)
	in := value(t, `{"a":"x\u001b","c":{"d":{},"extra":1},"f":1,"g":5,"extra":2}`)
	before, _ := kernel.EncodeJSON(in)
	_, err := o.Coerce(in)
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{
		"breaks its schema in 6 places", `a: expected int, found the text "x\x1b"`, "b: missing, expected str", "c.d: expected list, found an object",
		"c.e: missing, expected score (a number from 0.0 to 1.0)", "f: ", "minimum", "g: expected str or null, found the number 5",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q: %v", want, err)
		}
	}
	if after, _ := kernel.EncodeJSON(in); string(after) != string(before) {
		t.Errorf("the value was changed: %s", after)
	}
	if _, err := o.Coerce(value(t, `[]`)); err == nil || !strings.Contains(err.Error(), "expected an object, found a list") {
		t.Errorf("a list: %v", err)
	}
	many := map[string]any{}
	for i := range 50 {
		many[strings.Repeat("x", i+1)] = "int"
	}
	r, _ := NewRegistry(nil)
	o, err = r.Object(many, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Coerce(map[string]any{}); err == nil || !strings.Contains(err.Error(), "in 50 places") || !strings.Contains(err.Error(), "and 30 more") {
		t.Errorf("many: %v", err)
	}
}

func TestExtraFields(t *testing.T) {
	for _, c := range []struct{ doc, want string }{
		{`{"a":"int","n":{"b":"int"}}`, `{"a":1,"n":{"b":2}}`},
		{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"a":1,"n":{"b":2,"x":3},"x":4}`},
		{`{"type":"object","properties":{"a":{"type":"integer"}},"additionalProperties":false}`, bad},
	} {
		got, err := object(t, `{}`, c.doc).Coerce(value(t, `{"a":1,"n":{"b":2,"x":3},"x":4}`))
		if c.want == bad {
			if err == nil || !strings.Contains(err.Error(), "additional properties") {
				t.Errorf("%s: %v, %v", c.doc, got, err)
			}
			continue
		}
		if diff := cmp.Diff(value(t, c.want), got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", c.doc, err, diff)
		}
	}
}

func TestJSONSchemaObject(t *testing.T) {
	o := object(t, `{}`, `{"type":"object","required":["a"],"properties":{
		"a":{"type":"integer"},"b":{"type":["string","null"]},"c":{"type":"string","default":"x"},
		"d":{"type":"object","properties":{"e":{"type":["number","null"]}}}}}`, "d", "a")
	got, err := o.Coerce(value(t, `{"a":1,"d":{}}`))
	if diff := cmp.Diff(value(t, `{"a":1,"b":null,"c":"x","d":{"e":null}}`), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := o.Coerce(value(t, `{"b":5}`)); err == nil || !strings.Contains(err.Error(), "missing property") || !strings.Contains(err.Error(), "want string or null") && !strings.Contains(err.Error(), "want null or string") {
		t.Errorf("%v", err)
	}
	if err := o.Check(value(t, `{"a":"1"}`)); err == nil || !strings.Contains(err.Error(), "got string, want integer") || kernel.CodeOf(err) != kernel.CodeInput {
		t.Errorf("%v", err)
	}
	wantFields := []Field{{"d", "object", false}, {"a", "integer", true}, {"b", "string or null", false}, {"c", "string", false}}
	if diff := cmp.Diff(wantFields, o.Fields()); diff != "" {
		t.Error(diff)
	}
	for doc, isSchema := range map[string]bool{
		`{"type":"object"}`: true,
		`{"properties":{"a":{"type":"string"}},"required":[]}`: true,
		`{"properties":"dict","required":"bool"}`:              false,
		`{"properties":{"a":"str"}}`:                           false,
		`{"type":"str"}`:                                       false,
		`{"n":{"type":"str","size":"int"}}`:                    false,
	} {
		if got := object(t, `{}`, doc).schema != nil; got != isSchema {
			t.Errorf("%s taken as a JSON Schema: %v", doc, got)
		}
	}
}

func TestCheck(t *testing.T) {
	o := object(t, `{}`, `{"price":"float","qty":"int","note":"str?","paid":"currency","n":{"a":"bool"}}`)
	if err := o.Check(value(t, `{"price":10,"qty":2.0,"paid":"$5","n":{"a":true},"extra":1}`)); err != nil {
		t.Error(err)
	}
	err := o.Check(value(t, `{"price":"10","qty":2.5,"note":3,"n":{"a":"true"}}`))
	if err == nil || kernel.CodeOf(err) != kernel.CodeInput {
		t.Fatal(err)
	}
	for _, want := range []string{`price: expected float, found the text "10"`, "qty: expected int, found the number 2.5", "note: expected str or null, found the number 3", "paid: missing, expected currency", `n.a: expected bool, found the text "true"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q: %v", want, err)
		}
	}
}

const everyType = `{"str":"str","int":"int","float":"float","bool":"bool","list":"list","dict":"dict","any":"Any","currency":"currency",
	"flexible":"flexible_bool","score":"score","upper":"upper_str","lower":"lower_str","trimmed":"trimmed_str","nullable":"nullable_str",
	"stro":"str?","into":"int?","nested":{"x":"int","y":"Any?"},"schema":{"type":"integer","minimum":0}}`

// FuzzCoerce: any value is either refused with its fields named or becomes one
// that is of the schema, and stays as it is when it is coerced again. Check agrees
// with the JSON Schema.
func FuzzCoerce(f *testing.F) {
	for _, s := range []string{`"$1,200"`, `1e400`, `1e399`, `-0.0`, `"maybe"`, `[{}]`, `{"x":1}`, `null`, `true`, `"1.200,50 €"`, `"-"`, `"１２"`, `" − 5 EUR"`, `"0.1e-399"`, `"ǆ"`, `"İ"`} {
		f.Add([]byte(s))
	}
	o := object(f, `{}`, everyType)
	held, err := schema.Compile(o.JSONSchema())
	if err != nil {
		f.Fatal(err)
	}
	loose := object(f, `{"c":{"base":"int","pattern":["(\\d+)","x"],"strip":"0","clamp":[-5,500]},"d":{"base":"float"},"e":{"base":"bool"},"g":{"upper":true,"max_length":3}}`, `{"c":"c","d":"d","e":"e?","g":"g"}`)
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := kernel.DecodeJSON(text)
		if err != nil {
			return
		}
		whole := map[string]any{}
		for _, field := range o.Fields() {
			whole[field.Name] = v
		}
		if a, b := o.Check(whole), held.Validate(whole); (a == nil) != (b == nil) {
			t.Fatalf("%s: Check says %v, the JSON Schema %v", text, a, b)
		}
		for _, f := range o.fields {
			single := &Object{fields: []field{f}}
			once, err := single.Coerce(map[string]any{f.name: v})
			if err != nil {
				if kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), f.name) {
					t.Fatalf("%s: %v", text, err)
				}
				continue
			}
			again, err := single.Coerce(once)
			if diff := cmp.Diff(once, again); err != nil || diff != "" {
				t.Fatalf("%s of %s is not stable: %v\n%s", f.name, text, err, diff)
			}
		}
		if got, err := loose.Coerce(map[string]any{"c": v, "d": v, "e": v, "g": v}); err == nil {
			if _, err := kernel.EncodeJSON(got); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkCoerce(b *testing.B) {
	o := object(b, `{}`, `{"sentiment":"str","score":"score","amount":"currency","note":"str?"}`)
	v := value(b, `{"sentiment":"pos","score":0.9,"amount":"$1,200","note":null}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := o.Coerce(v); err != nil {
			b.Fatal(err)
		}
	}
}
