package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

// holds compares a value with a schema, as args of a port call.
func holds(t *testing.T, schema, value string) hexdagtest.Result {
	t.Helper()
	host := hexdagtest.New(t)
	host.Config(`{"args": ` + schema + `}`)
	return host.PortBefore(func(c *hexdag.PortCall) hexdag.Verdict { return hold("args", c.Payload()) }, `{"op": "a.b", "args": `+value+`}`)
}

// TestKeywords: values that fit a schema, and values that do not. They are those of the
// specification's keywords, one by one.
func TestKeywords(t *testing.T) {
	for schema, values := range map[string]struct{ fit, not []string }{
		`true`:                                {[]string{`1`, `null`, `{}`}, nil},
		`false`:                               {nil, []string{`1`, `null`, `{}`}},
		`{}`:                                  {[]string{`1`, `null`, `[{}]`}, nil},
		`{"type": "integer"}`:                 {[]string{`1`, `-7`, `1.0`, `2e3`}, []string{`1.5`, `"1"`, `null`, `true`, `1e-1`}},
		`{"type": ["string", "null"]}`:        {[]string{`""`, `null`}, []string{`0`, `[]`, `false`}},
		`{"type": "boolean"}`:                 {[]string{`true`, `false`}, []string{`0`, `"true"`}},
		`{"enum": [1, "1", null, {"a": []}]}`: {[]string{`1`, `1.0`, `"1"`, `null`, `{"a":[]}`}, []string{`2`, `""`, `false`, `{"a":[1]}`}},
		`{"const": {"a": 1}}`:                 {[]string{`{"a":1}`}, []string{`{"a":1,"b":1}`, `null`}},
		`{"minimum": 1, "maximum": 3}`:        {[]string{`1`, `3`, `3.0`, `"9"`}, []string{`0.999`, `3.001`, `-1e9`}},
		`{"exclusiveMinimum": 1, "exclusiveMaximum": 3}`:                        {[]string{`1.001`, `2`}, []string{`1`, `3`, `1.0`}},
		`{"minLength": 2, "maxLength": 3}`:                                      {[]string{`"日本"`, `"😀😀😀"`, `7`}, []string{`"x"`, `"abcd"`}},
		`{"pattern": "^[a-z]+$"}`:                                               {[]string{`"abc"`, `7`}, []string{`"aBc"`, `""`}},
		`{"pattern": "b"}`:                                                      {[]string{`"abc"`}, []string{`"aac"`}}, // anywhere
		`{"minItems": 1, "maxItems": 2, "items": {"type": "string"}}`:           {[]string{`["a"]`, `["a","b"]`, `"a"`}, []string{`[]`, `["a","b","c"]`, `["a",1]`}},
		`{"uniqueItems": true}`:                                                 {[]string{`[1,"1",true,null,[1],{"a":1}]`, `[]`}, []string{`[1,1]`, `[1,1.0]`, `[{"a":1,"b":2},{"b":2,"a":1}]`}},
		`{"uniqueItems": false}`:                                                {[]string{`[1,1]`}, nil},
		`{"required": ["a", "b"]}`:                                              {[]string{`{"a":null,"b":1}`, `[]`}, []string{`{"a":1}`, `{}`}},
		`{"minProperties": 1, "maxProperties": 2}`:                              {[]string{`{"a":1}`, `{"a":1,"b":2}`}, []string{`{}`, `{"a":1,"b":2,"c":3}`}},
		`{"properties": {"a/b": {"type": "null"}}}`:                             {[]string{`{}`, `{"a/b":null}`, `{"c":1}`}, []string{`{"a/b":1}`}},
		`{"properties": {"a": true}, "additionalProperties": false}`:            {[]string{`{}`, `{"a":1}`}, []string{`{"b":1}`, `{"a":1,"b":1}`}},
		`{"additionalProperties": {"type": "string"}}`:                          {[]string{`{"x":"y"}`}, []string{`{"x":1}`}},
		`{"anyOf": [{"type": "string"}, {"minimum": 3}]}`:                       {[]string{`"x"`, `3`, `null`}, []string{`2`}},
		`{"oneOf": [{"type": "integer"}, {"minimum": 3}]}`:                      {[]string{`2`, `3.5`}, []string{`3`, `2.5`}},
		`{"allOf": [{"type": "integer"}, {"minimum": 3}]}`:                      {[]string{`3`}, []string{`2`, `3.5`}},
		`{"not": {"type": "string"}}`:                                           {[]string{`1`, `null`}, []string{`""`}},
		`{"title": "t", "description": "d", "default": 1, "$comment": "c"}`:     {[]string{`1`, `"x"`}, nil},
		`{"properties": {"a": {"items": {"properties": {"b": {"const": 1}}}}}}`: {[]string{`{"a":[{"b":1},{},7]}`}, []string{`{"a":[{},{"b":2}]}`}},
	} {
		for _, v := range values.fit {
			if got := holds(t, schema, v); got.Verdict != "continue" {
				t.Errorf("%s: %s: %+v", schema, v, got)
			}
		}
		for _, v := range values.not {
			if got := holds(t, schema, v); got.Verdict != "deny" || got.Code() != "schema" {
				t.Errorf("%s: %s: %+v", schema, v, got)
			}
		}
	}
}

// TestSays: all that is wrong is told, with its place, up to ten things.
func TestSays(t *testing.T) {
	got := holds(t, `{"required": ["x"], "properties": {"a~/b": {"type": "string", "maxLength": 1}, "n": {"maximum": 3}}}`, `{"a~/b": "xyz", "n": 4.50}`)
	if want := `/args/a~0~1b has 3 characters, more than 1; /args/n is 4.50, and its maximum is 3; /args has no x`; got.Reason() != want {
		t.Errorf("%s", got.Reason())
	}
	got = holds(t, `{"items": {"type": "string"}}`, "["+strings.Repeat("1,", 30)+"1]")
	if n := strings.Count(got.Reason(), "is not of the type"); n != 10 {
		t.Errorf("%d things: %s", n, got.Reason())
	}
}

// TestBadSchemas: what is not understood is an error, and not a schema that everything fits.
func TestBadSchemas(t *testing.T) {
	for schema, says := range map[string]string{
		`{"format": "date"}`:           "/format: this keyword is not among those",
		`{"$ref": "#"}`:                "/$ref",
		`{"type": "float"}`:            `no type "float"`,
		`{"pattern": "("}`:             "/pattern",
		`{"anyOf": []}`:                "list of schemas",
		`{"anyOf": {}}`:                "list of schemas",
		`{"minLength": -1}`:            "integer from 0",
		`{"maximum": "3"}`:             "it is a number",
		`"string"`:                     "a schema is an object, true or false",
		`{"properties": {"a": 1}}`:     "/properties/a: a schema is",
		`{"not": {"unknown": 1}}`:      "/not/unknown",
		`{"anyOf": [true, {"if": 1}]}`: "/anyOf/1/if",
	} {
		value := `"text"`
		switch {
		case strings.Contains(schema, "maximum"):
			value = `1`
		case strings.Contains(schema, "properties"):
			value = `{"a": 1}`
		}
		if got := holds(t, schema, value); got.Verdict != "error" || got.Code() != "bad_schema" || !strings.Contains(got.Reason(), says) {
			t.Errorf("%s: %+v", schema, got)
		}
	}
	if got := hexdagtest.New(t).NodeBefore(func(c *hexdag.NodeCall) hexdag.Verdict { return hold("input", c.Payload()) }, `{"input": 1}`); got.Verdict != "error" || got.Code() != "bad_config" {
		t.Errorf("%+v", got)
	}
}

// TestWhatIsHeld: each schema is of its own side of a call, and what failed has nothing to hold.
func TestWhatIsHeld(t *testing.T) {
	host := hexdagtest.New(t)
	host.Config(`{"reply": {"type": "string"}}`)
	reply := func(c *hexdag.PortCall) hexdag.Verdict { return hold("reply", c.Payload()) }
	args := func(c *hexdag.PortCall) hexdag.Verdict { return hold("args", c.Payload()) }
	for payload, verdict := range map[string]string{`{"reply": "x"}`: "continue", `{"reply": 1}`: "deny", `{"error": {"code": "c", "message": "m"}}`: "continue"} {
		if got := host.PortAfter(reply, payload); got.Verdict != verdict {
			t.Errorf("%s: %+v", payload, got)
		}
	}
	if got := host.PortBefore(args, `{"args": 1}`); got.Verdict != "continue" {
		t.Errorf("%+v", got)
	}
}
