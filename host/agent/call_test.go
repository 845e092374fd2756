package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hexdag/hexdag/host/kernel"
)

func args(t testing.TB, text string) map[string]any {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v.(map[string]any)
}

// TestParseCalls takes every form of a call: answer, style, and what it holds as
// "name {args}" or "name: error", one a line.
func TestParseCalls(t *testing.T) {
	for _, c := range []struct {
		answer string
		style  Style
		want   []string
	}{
		{"thinking", Mixed, nil},
		{"", Mixed, nil},
		{`INVOKE_TOOL: search(q='x', n=3)`, Mixed, []string{`search {"n":3,"q":"x"}`}},
		{`INVOKE_TOOL:search( q = "x" , )`, FunctionCall, []string{`search {"q":"x"}`}},
		{`INVOKE_TOOL: ping()`, Mixed, []string{`ping {}`}},
		{"I'll look.\nINVOKE_TOOL: orders:find.one-2(id='7')\nDone.", Mixed, []string{`orders:find.one-2 {"id":"7"}`}},
		{`INVOKE_TOOL: f(a='42', b=42, c=-1.50, d='')`, Mixed, []string{`f {"a":"42","b":42,"c":-1.50,"d":""}`}},
		{`INVOKE_TOOL: f(a=true, b=False, c=None, d=null)`, Mixed, []string{`f {"a":true,"b":false,"c":null,"d":null}`}},
		{`INVOKE_TOOL: f(city=New York, b=a(1,2)c, n=007, m=+5)`, Mixed, []string{`f {"b":"a(1,2)c","city":"New York","m":"+5","n":"007"}`}},
		{`INVOKE_TOOL: f(a=[1,2], b={"x": {"y": [true]}}, c=['p', "q"], d={'k': None,})`, Mixed, []string{`f {"a":[1,2],"b":{"x":{"y":[true]}},"c":["p","q"],"d":{"k":null}}`}},
		{`INVOKE_TOOL: f(a='it\'s', b="say \"hi\"", c='C:\dir', d='é😀\u00e9\x41\ud83d\ude00', e='a` + "\n" + `b\n')`, Mixed, []string{`f {"a":"it's","b":"say \"hi\"","c":"C:\\dir","d":"é😀éA😀","e":"a\nb\n"}`}},
		{`INVOKE_TOOL: f(a='INVOKE_TOOL: g()', b='),')`, Mixed, []string{`f {"a":"INVOKE_TOOL: g()","b":"),"}`}},
		{`INVOKE_TOOL: f(a='x', b='y') INVOKE_TOOL: g(c=1) {`, Mixed, []string{`f {"a":"x","b":"y"}`, `g {"c":1}`}},
		{`INVOKE_TOOL: {"tool": "f", "params": {"a": {"b": [{"c": 1}]}, "s": "}"}}`, Mixed, []string{`f {"a":{"b":[{"c":1}]},"s":"}"}`}},
		{`INVOKE_TOOL: {"params": {}, "tool": "f"} INVOKE_TOOL: g()`, Mixed, []string{`f {}`, `g {}`}},
		{`INVOKE_TOOL: {"tool": "f"}`, JSON, []string{`f {}`}},
		{`INVOKE_TOOL: {"tool": "f", "params": null}`, JSON, []string{`f {}`}},
		{"INVOKE_TOOL:\n\t{'tool': 'any name at all', 'params': {'a': True}}", JSON, []string{`any name at all {"a":true}`}},
		{`Write INVOKE_TOOL: and then INVOKE_TOOL: f()`, Mixed, []string{`f {}`}},

		{`INVOKE_TOOL: f(a=1)`, JSON, []string{`f: a call is written INVOKE_TOOL: {"tool": "name", "params": {"key": "value"}}`}},
		{`INVOKE_TOOL: {"tool": "f"}`, FunctionCall, []string{`f: a call is written INVOKE_TOOL: name(key='value')`}},
		{`INVOKE_TOOL: {"tool": "f", "arguments": {}}`, Mixed, []string{`f: a call is written INVOKE_TOOL: {"tool"`}},
		{`INVOKE_TOOL: {"tool": 5}`, Mixed, []string{`: a call is written`}},
		{`INVOKE_TOOL: {"params": {}}`, Mixed, []string{`: a call is written`}},
		{`INVOKE_TOOL: {"tool": "f", "params": []}`, Mixed, []string{`f: a call is written`}},
		{`INVOKE_TOOL: f`, Mixed, []string{`: no call follows; a call is written INVOKE_TOOL: name(key='value')`}},
		{`INVOKE_TOOL: !`, JSON, []string{`: no call follows; a call is written INVOKE_TOOL: {"tool"`}},
		{`INVOKE_TOOL: f('x')`, Mixed, []string{`f: the call cannot be read at byte 3: arguments are written name=value`}},
		{`INVOKE_TOOL: f(a=)`, Mixed, []string{`f: the call cannot be read at byte 5: a value is due`}},
		{`INVOKE_TOOL: f(a=1, a=2)`, Mixed, []string{`f: the call cannot be read at byte 10: argument a occurs twice`}},
		{`INVOKE_TOOL: f(a='x' b='y')`, Mixed, []string{`f: the call cannot be read at byte 9: a comma or ) is due after argument a`}},
		{`INVOKE_TOOL: f(a=1`, Mixed, []string{`f: the call cannot be read at byte 6: a comma or ) is due`}},
		{`INVOKE_TOOL: f(a='INVOKE_TOOL: g()`, Mixed, []string{`f: the call cannot be read at byte 22: a text has no end`}},
		{`INVOKE_TOOL: f(a='\`, Mixed, []string{`f: the call cannot be read`}},
		{`INVOKE_TOOL: f(a='\ud83d')`, Mixed, []string{`f: the call cannot be read at byte 12: half a surrogate pair`}},
		{`INVOKE_TOOL: f(a='\ud83d\ud83d')`, Mixed, []string{`f: the call cannot be read at byte 18: half a surrogate pair`}},
		{`INVOKE_TOOL: f(a='\u12g4')`, Mixed, []string{`f: the call cannot be read at byte 8: an escape takes 4`}},
		{`INVOKE_TOOL: f(a='\x`, Mixed, []string{`f: the call cannot be read at byte 8: an escape takes 2`}},
		{`INVOKE_TOOL: f(a=[x])`, Mixed, []string{`f: the call cannot be read at byte 6: a value is due; put texts in quotes`}},
		{`INVOKE_TOOL: f(a=[1 2])`, Mixed, []string{`f: the call cannot be read at byte 8: a comma or ] is due`}},
		{`INVOKE_TOOL: f(a={"x" 1})`, Mixed, []string{`f: the call cannot be read at byte 10: a colon is due`}},
		{`INVOKE_TOOL: f(a={x: 1})`, Mixed, []string{`f: the call cannot be read at byte 6: a member's name in quotes is due`}},
		{`INVOKE_TOOL: f(a={"x": 1, "x": 2})`, Mixed, []string{`f: the call cannot be read at byte 17: member x occurs twice`}},
		{`INVOKE_TOOL: {"tool": "f"`, Mixed, []string{`: the call cannot be read at byte 13: a comma or } is due`}},
	} {
		var got []string
		for _, call := range ParseCalls(c.answer, c.style) {
			if call.Err != nil {
				got = append(got, call.Name+": "+call.Err.Error())
				continue
			}
			text, err := kernel.EncodeJSON(call.Args)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, call.Name+" "+string(text))
		}
		matches := len(got) == len(c.want)
		for i := range got {
			matches = matches && strings.HasPrefix(got[i], c.want[i])
		}
		if !matches {
			t.Errorf("%s (%s):\n got %q\nwant %q", c.answer, c.style, got, c.want)
		}
	}
}

// TestParserStops: nothing is read after a broken call, after sixteen, and of one
// that is too large or too deep.
func TestParserStops(t *testing.T) {
	if calls := ParseCalls(`INVOKE_TOOL: f(a='x INVOKE_TOOL: g()`, Mixed); len(calls) != 1 || calls[0].Err == nil {
		t.Errorf("an argument became a call: %v", calls)
	}
	calls := ParseCalls(strings.Repeat("INVOKE_TOOL: f() ", 100), Mixed)
	if len(calls) != maxCalls+1 || calls[maxCalls-1].Err != nil || calls[maxCalls].Err == nil || !strings.Contains(calls[maxCalls].Err.Error(), "one answer may hold 16") {
		t.Errorf("%d calls, the last %v", len(calls), calls[len(calls)-1])
	}
	large := `INVOKE_TOOL: f(a='` + strings.Repeat("x", maxArguments) + `') INVOKE_TOOL: g()`
	if calls := ParseCalls(large, Mixed); len(calls) != 1 || calls[0].Err == nil || !strings.Contains(calls[0].Err.Error(), "bytes, the limit is 65536") {
		t.Errorf("a large call: %v", calls[0].Err)
	}
	for _, deep := range []string{"INVOKE_TOOL: f(a=" + strings.Repeat("[", 1<<19), "INVOKE_TOOL: " + strings.Repeat(`{"a":`, 1<<17)} {
		if calls := ParseCalls(deep, Mixed); len(calls) != 1 || calls[0].Err == nil || !strings.Contains(calls[0].Err.Error(), "deeper than 128") {
			t.Errorf("deep: %v", calls[0].Err)
		}
	}
	nested := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, answer := range []string{"INVOKE_TOOL: f(a=" + nested + ")", `INVOKE_TOOL: {"tool":"f","params":{"a":` + nested + "}}"} {
		if calls := ParseCalls(answer, Mixed); len(calls) != 1 || calls[0].Err != nil {
			t.Errorf("a hundred lists: %v", calls)
		}
	}
}

// TestParserIsLinear: an answer that is made of nothing but beginnings of calls is read once.
func TestParserIsLinear(t *testing.T) {
	for name, piece := range map[string]string{"markers": marker, "markers and names": marker + " a", "names": marker + strings.Repeat("a", 300)} {
		done := make(chan []Call, 1)
		go func() { done <- ParseCalls(strings.Repeat(piece, maxResponse/len(piece)), Mixed) }()
		select {
		case calls := <-done:
			if len(calls) != 1 || !errors.Is(calls[0].Err, errNoCall) {
				t.Errorf("%s: %d calls, %v", name, len(calls), calls)
			}
		case <-time.After(20 * time.Second): // it takes milliseconds, and took minutes
			t.Fatalf("%s: a megabyte is not read in time", name)
		}
	}
}

// randomValue makes a value as deep as the budget allows.
func randomValue(r *rand.Rand, depth int) kernel.Value {
	kinds := 7
	if depth == 0 {
		kinds = 5
	}
	switch r.IntN(kinds) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return json.Number([]string{"0", "-7", "3.25", "1e9", "9007199254740993", "-0.0"}[r.IntN(6)])
	case 3, 4:
		return randomText(r)
	case 5:
		list := []any{}
		for range r.IntN(4) {
			list = append(list, randomValue(r, depth-1))
		}
		return list
	}
	object := map[string]any{}
	for range r.IntN(4) {
		object[randomText(r)] = randomValue(r, depth-1)
	}
	return object
}

func randomText(r *rand.Rand) string {
	pieces := []string{"a", " ", "'", `"`, `\`, "\n", "\x00", "é", "😀", ",", ")", "(", "{", "}", "42", "true", "INVOKE_TOOL: x()", "=", "\u2028", `\n`, "null"}
	var b strings.Builder
	for range r.IntN(5) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// TestFormattedCallsParse: whatever can be called comes back as it was, in every
// style, with text around it.
func TestFormattedCallsParse(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"f", "orders:find", "a.b-c_9", "_", "tool_end"}
	argNames := []string{"a", "b_1", "_c", "phase", "two words", "é", ""}
	for range 20_000 {
		call := Call{Name: names[r.IntN(len(names))], Args: map[string]any{}}
		for range r.IntN(4) {
			call.Args[argNames[r.IntN(len(argNames))]] = randomValue(r, 4)
		}
		for _, style := range []Style{Mixed, FunctionCall, JSON} {
			text := call.Format(style)
			parseAs := style
			if strings.HasPrefix(text, marker+" {") {
				parseAs = JSON
			}
			got := ParseCalls("So: "+text+" and on", parseAs)
			if len(got) != 1 || got[0].Err != nil || got[0].Name != call.Name {
				t.Fatalf("%s of %+v: %+v", text, call, got)
			}
			if diff := cmp.Diff(call.Args, got[0].Args); diff != "" {
				t.Fatalf("%s:\n%s", text, diff)
			}
		}
	}
}

// TestTyped: what a parameter's type says settles what the function form leaves open.
func TestTyped(t *testing.T) {
	for _, c := range []struct{ typ, arg, want string }{
		{"str", `'42'`, `"42"`}, {"string", `42`, `"42"`}, {"str", `1.50`, `"1.50"`}, {"str", `true`, `true`}, {"", `'42'`, `"42"`}, {"Any", `'42'`, `"42"`},
		{"int", `'42'`, `42`}, {"integer", `'x'`, `"x"`}, {"float", `'1.5'`, `1.5`}, {"number", `'1.5 '`, `1.5`}, {"bool", `'True'`, `true`}, {"boolean", `'1'`, `"1"`},
		{"list", `'[1, "a"]'`, `[1,"a"]`}, {"array", `'{}'`, `"{}"`}, {"dict", `"{'a': 1}"`, `{"a":1}`}, {"object", `'{} x'`, `"{} x"`}, {"int", `'null'`, `"null"`},
	} {
		call := ParseCalls("INVOKE_TOOL: f(a="+c.arg+", other='7')", Mixed)[0]
		got := typed([]Parameter{{Name: "a", Type: c.typ}, {Name: "absent", Type: "int"}}, call)
		if diff := cmp.Diff(args(t, `{"a":`+c.want+`,"other":"7"}`), got); diff != "" {
			t.Errorf("%s for %s:\n%s", c.arg, c.typ, diff)
		}
	}
	call := ParseCalls(`INVOKE_TOOL: {"tool": "f", "params": {"a": "42"}}`, Mixed)[0]
	if got := typed([]Parameter{{Name: "a", Type: "int"}}, call); got["a"] != "42" {
		t.Errorf("JSON says a text, and it became %v", got["a"])
	}
}

// FuzzParseCalls: whatever a model writes, there are at most seventeen calls, all
// but the last of them whole, and each call that is whole comes back from its text.
func FuzzParseCalls(f *testing.F) {
	for _, s := range []string{
		`INVOKE_TOOL: f(a='x', b=[1,{"c":null}])`, `INVOKE_TOOL: {"tool":"f","params":{"a":"\ud83d\ude00"}}`, `INVOKE_TOOL: f(a='\`, `INVOKE_TOOL: f(a=(((`,
		`INVOKE_TOOL: INVOKE_TOOL: f() INVOKE_TOOL: {`, "INVOKE_TOOL: f(a='\xff')", `INVOKE_TOOL: f(a=1e999999999)`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		answer = strings.ToValidUTF8(answer, "\uFFFD")
		for _, style := range []Style{Mixed, FunctionCall, JSON} {
			calls := ParseCalls(answer, style)
			if len(calls) > maxCalls+1 || len(calls) > 0 && !strings.Contains(answer, marker) {
				t.Fatalf("%d calls", len(calls))
			}
			for i, call := range calls {
				if call.Err != nil {
					if i != len(calls)-1 {
						t.Fatalf("read on after %v", call.Err)
					}
					continue
				}
				if call.Name == "" || call.Args == nil {
					t.Fatalf("%+v", call)
				}
				text := call.Format(style)
				again := ParseCalls(text, Mixed)
				if len(text) > maxArguments {
					continue
				}
				if len(again) != 1 || again[0].Err != nil || again[0].Name != call.Name || !cmp.Equal(again[0].Args, call.Args) {
					t.Fatalf("%s of %+v: %+v", text, call, again)
				}
			}
		}
	})
}

func BenchmarkParseCalls(b *testing.B) {
	for _, c := range []struct{ name, answer string }{
		{"function", `I need the order. INVOKE_TOOL: orders:find(id='A-10281', fields=['total', 'state'], limit=3)`},
		{"json", `I need the order. INVOKE_TOOL: {"tool": "orders:find", "params": {"id": "A-10281", "fields": ["total", "state"], "limit": 3}}`},
		{"none", strings.Repeat("Nothing to call here. ", 100)},
		{"a MiB of markers", strings.Repeat("INVOKE_TOOL: f", maxResponse/14)},
		{"a MiB of brackets", "INVOKE_TOOL: f(a=" + strings.Repeat("(", maxResponse)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if calls := ParseCalls(c.answer, Mixed); len(calls) > 1 {
					b.Fatal(fmt.Sprint(calls))
				}
			}
		})
	}
}
