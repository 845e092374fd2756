package hexdag_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

func TestGreetingHook(t *testing.T) {
	greet := func(c *hexdag.NodeCall) hexdag.Verdict {
		c.Input().SetString("/greeting", hexdag.Config().String("/word")+" "+c.Input().String("/name"))
		return hexdag.Replace()
	}
	host := hexdagtest.New(t)
	host.Config(`{"word":"hi"}`)
	got := host.NodeBefore(greet, `{"input":{"name":"Ann"}}`)
	if got.Verdict != "replace" || got.Payload != `{"input":{"greeting":"hi Ann","name":"Ann"}}` {
		t.Errorf("got %+v", got)
	}
}

// inspect runs f as a hook before a node with this payload.
func inspect(t *testing.T, payload string, f func(d hexdag.Doc)) {
	t.Helper()
	hexdagtest.New(t).NodeBefore(func(c *hexdag.NodeCall) hexdag.Verdict {
		f(c.Payload())
		return hexdag.Continue()
	}, payload)
}

func TestTypedReads(t *testing.T) {
	long := strings.Repeat("é", 5000)
	payload := `{"s":"a\"\nb","n":-12,"f":1.50,"big":9007199254740993,"huge":1e400,"t":true,"z":null,"l":[1,"x"],"o":{"a/b":{"~":1}},"long":"` + long + `"}`
	inspect(t, payload, func(d hexdag.Doc) {
		for path, want := range map[string]hexdag.Kind{
			"/s": hexdag.KindString, "/n": hexdag.KindNumber, "/t": hexdag.KindBool, "/z": hexdag.KindNull, "/l": hexdag.KindArray,
			"/o": hexdag.KindObject, "": hexdag.KindObject, "/none": hexdag.KindAbsent, "/s/x": hexdag.KindAbsent, "/l/2": hexdag.KindAbsent,
			"/l/01": hexdag.KindAbsent, "/l/-": hexdag.KindAbsent, "malformed": hexdag.KindAbsent,
		} {
			if got := d.Kind(path); got != want {
				t.Errorf("Kind(%s) = %d, want %d", path, got, want)
			}
		}
		if d.String("/s") != "a\"\nb" || d.String("/n") != "" || d.String("/none") != "" || d.String("/long") != long {
			t.Errorf("strings: %q %q", d.String("/s"), d.String("/n"))
		}
		if d.Int("/n", 0) != -12 || d.Int("/big", 0) != 9007199254740993 || d.Int("/f", 7) != 7 || d.Int("/s", 7) != 7 || d.Int("/none", 7) != 7 {
			t.Error("Int")
		}
		if d.Float("/f", 0) != 1.5 || d.Float("/huge", 7) != 7 || d.Float("/t", 7) != 7 {
			t.Error("Float")
		}
		if !d.Bool("/t", false) || !d.Bool("/z", true) {
			t.Error("Bool")
		}
		if d.Raw("/f") != "1.50" || d.Raw("/l") != `[1,"x"]` || d.Raw("/none") != "" {
			t.Errorf("Raw: %s %s", d.Raw("/f"), d.Raw("/l"))
		}
		if d.At("/o").Int("/a~1b/~0", 0) != 1 {
			t.Error("At")
		}
	})
}

func TestReadErrors(t *testing.T) {
	inspect(t, `{}`, func(d hexdag.Doc) {
		for path, want := range map[string]hexdag.Status{
			"x": hexdag.Invalid, "/~2": hexdag.Invalid, "/~": hexdag.Invalid, "/\xff": hexdag.Invalid,
			strings.Repeat("/a", 65): hexdag.Limit, "/" + strings.Repeat("a", 1024): hexdag.Limit,
		} {
			if _, err := d.Get(path); !errors.Is(err, want) {
				t.Errorf("Get(%.10q): %v, want %v", path, err, want)
			}
		}
	})
}

func TestKeys(t *testing.T) {
	wide := `"` + strings.Repeat("w", 5000) + `":1`
	inspect(t, `{"o":{"b":1,"a/~":2,"":3},"l":[5,6],"s":"x","wide":{`+wide+`}}`, func(d hexdag.Doc) {
		if got, err := d.Keys("/o"); err != nil || !slices.Equal(got, []string{"", "a/~", "b"}) {
			t.Errorf("object: %q, %v", got, err)
		}
		if got, err := d.Keys("/l"); err != nil || !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("array: %q, %v", got, err)
		}
		if got, err := d.Keys("/wide"); err != nil || len(got) != 1 || len(got[0]) != 5000 {
			t.Errorf("a key longer than the scratch buffer: %d, %v", len(got), err)
		}
		if _, err := d.Keys("/none"); !errors.Is(err, hexdag.NotFound) {
			t.Errorf("absent: %v", err)
		}
		if _, err := d.Keys("/s"); !errors.Is(err, hexdag.Invalid) {
			t.Errorf("scalar: %v", err)
		}
		if d.Len("/o") != 3 || d.Len("/s") != 0 {
			t.Error("Len")
		}
	})
}

func TestWrites(t *testing.T) {
	build := func(c *hexdag.NodeCall) hexdag.Verdict {
		r := c.Result()
		r.SetString("/a/b~1c", "ü\"")
		r.SetInt("/n", math.MinInt64)
		r.SetFloat("/f", 0.1)
		r.SetNumber("/exact", "84.90")
		r.SetBool("/yes", true)
		r.SetNull("/nothing")
		r.SetJSON("/list", ` [ 1 ] `)
		r.SetString("/list/-", "two")
		r.SetJSON("/list/-", "{}")
		r.SetInt("/list/2/very/deep", 3)
		r.SetBool("/list/0", false)
		r.SetValue("/copy", hexdag.Value{Kind: hexdag.KindObject, Text: `{"x":1}`})
		r.SetString("/gone", "")
		r.Remove("/gone")
		r.AppendBody([]byte("ab"))
		r.AppendBody([]byte("c"))
		return hexdag.Continue()
	}
	got := hexdagtest.New(t).NodeRun(build, `{"input":null}`)
	want := `{"a":{"b/c":"ü\""},"copy":{"x":1},"exact":84.90,"f":0.1,"list":[false,"two",{"very":{"deep":3}}],"n":-9223372036854775808,"nothing":null,"yes":true}`
	if got.Verdict != "continue" || got.Output != want || string(got.Body) != "abc" {
		t.Errorf("got %+v", got)
	}
}

func TestRefusedWritesMakeTheVerdictAnError(t *testing.T) {
	for name, write := range map[string]func(c *hexdag.NodeCall){
		"outside the patchable part": func(c *hexdag.NodeCall) { c.Payload().SetString("/run/tenant", "other") },
		"beside its name":            func(c *hexdag.NodeCall) { c.Payload().SetString("/inputs", "x") },
		"the whole payload":          func(c *hexdag.NodeCall) { c.Payload().SetJSON("", "{}") },
		"config":                     func(*hexdag.NodeCall) { hexdag.Config().SetString("/x", "y") },
		"invalid UTF-8":              func(c *hexdag.NodeCall) { c.Input().SetString("/x", "\xff") },
		"infinity":                   func(c *hexdag.NodeCall) { c.Input().SetFloat("/x", math.Inf(1)) },
		"not of the kind":            func(c *hexdag.NodeCall) { c.Input().SetNumber("/x", `"1"`) },
		"two values":                 func(c *hexdag.NodeCall) { c.Input().SetJSON("/x", `1 2`) },
		"below a scalar":             func(c *hexdag.NodeCall) { c.Input().SetInt("/s/x", 1) },
		"below null":                 func(c *hexdag.NodeCall) { c.Result().SetNull("/z"); c.Result().SetInt("/z/x", 1) },
		"index past the end":         func(c *hexdag.NodeCall) { c.Input().SetInt("/l/1", 1) },
		"behind a new element":       func(c *hexdag.NodeCall) { c.Input().SetInt("/l/-/x", 1) },
		"removing from nothing":      func(c *hexdag.NodeCall) { c.Result().Remove("/none") },
		"removing what is not there": func(c *hexdag.NodeCall) { c.Input().Remove("/none") },
		"too large":                  func(c *hexdag.NodeCall) { c.Input().SetString("/x", strings.Repeat("x", 1<<20)) },
		"body of the input":          func(c *hexdag.NodeCall) { c.Input().AppendBody([]byte("x")) },
	} {
		got := hexdagtest.New(t).NodeBefore(func(c *hexdag.NodeCall) hexdag.Verdict {
			write(c)
			return hexdag.Replace()
		}, `{"input":{"s":"x","l":[1]},"run":{}}`)
		if got.Verdict != "error" || got.Code() != "write_failed" {
			t.Errorf("%s: got %+v", name, got)
		}
	}
}

func TestErrTakesTheFailureOver(t *testing.T) {
	got := hexdagtest.New(t).NodeBefore(func(c *hexdag.NodeCall) hexdag.Verdict {
		c.Input().SetInt("/s/parent", 1)
		c.Input().SetInt("/s/neither", 1)
		var failed *hexdag.WriteError
		if err := hexdag.Err(); !errors.As(err, &failed) || failed.Path != "/input/s/parent" || !errors.Is(err, hexdag.NotFound) {
			t.Errorf("Err() = %v", err)
		}
		if err := hexdag.Err(); err != nil {
			t.Errorf("second Err() = %v", err)
		}
		return hexdag.Continue()
	}, `{"input":{"s":""}}`)
	if got.Verdict != "continue" {
		t.Errorf("got %+v", got)
	}
}

func TestVerdicts(t *testing.T) {
	run := func(v func(c *hexdag.PortCall) hexdag.Verdict) hexdagtest.Result {
		return hexdagtest.New(t).PortBefore(v, `{"op":"llm.complete","args":{"model":"m"}}`)
	}
	skip := run(func(c *hexdag.PortCall) hexdag.Verdict {
		c.Result().SetString("/text", c.Op()+" "+c.Args().String("/model"))
		return hexdag.Skip()
	})
	if skip.Verdict != "skip" || skip.Output != `{"text":"llm.complete m"}` {
		t.Errorf("skip: %+v", skip)
	}
	deny := run(func(c *hexdag.PortCall) hexdag.Verdict {
		c.Result().SetJSON("", `["half","made"]`)
		return hexdag.Deny("over_budget", "too dear")
	})
	if deny.Verdict != "deny" || deny.Output != `{"code":"over_budget","reason":"too dear"}` {
		t.Errorf("deny: %+v", deny)
	}
	if retry := run(func(*hexdag.PortCall) hexdag.Verdict { return hexdag.RetryAfter(1500) }); retry.RetryMilliseconds != 1500 {
		t.Errorf("retry: %+v", retry)
	}
	dropped := run(func(c *hexdag.PortCall) hexdag.Verdict {
		c.Args().SetString("/model", "other")
		return hexdag.Continue()
	})
	if dropped.At("/args/model") != "m" {
		t.Error("a patch took effect without the verdict replace")
	}
	if none := hexdagtest.New(t).ToolCall(nil, `{}`); none.Code() != "no_handler" {
		t.Errorf("no handler: %+v", none)
	}
}

func TestPatchesMakeParents(t *testing.T) {
	got := hexdagtest.New(t).NodeBefore(func(c *hexdag.NodeCall) hexdag.Verdict {
		c.Input().SetInt("/new/parents/n", 1)
		c.Input().Remove("/old")
		return hexdag.Replace()
	}, `{"input":{"old":0}}`)
	if got.Payload != `{"input":{"new":{"parents":{"n":1}}}}` {
		t.Errorf("got %+v", got)
	}
}

func TestNodeAfterMakesGood(t *testing.T) {
	rescue := func(c *hexdag.NodeCall) hexdag.Verdict {
		if c.Problem().String("/code") != "timeout" || c.Output().Kind("") != hexdag.KindAbsent {
			t.Error("the problem is not there")
		}
		c.Output().SetJSON("", `{"text":"later"}`)
		return hexdag.Replace()
	}
	got := hexdagtest.New(t).NodeAfter(rescue, `{"input":1,"error":{"code":"timeout","message":""}}`)
	if got.Verdict != "replace" || got.At("/output/text") != "later" {
		t.Errorf("got %+v", got)
	}
}

func TestBodyOfTheInput(t *testing.T) {
	host := hexdagtest.New(t)
	host.Body([]byte("0123456789"))
	host.PortAfter(func(c *hexdag.PortCall) hexdag.Verdict {
		d := c.Payload()
		if whole, err := d.Body(); err != nil || string(whole) != "0123456789" {
			t.Errorf("Body() = %q, %v", whole, err)
		}
		buf := make([]byte, 4)
		for offset, want := range map[int64]string{0: "0123", 8: "89", 10: "", 99: ""} {
			if n, err := d.ReadBody(offset, buf); err != nil || string(buf[:n]) != want {
				t.Errorf("ReadBody(%d) = %q, %v", offset, buf[:n], err)
			}
		}
		if _, err := d.ReadBody(-1, buf); !errors.Is(err, hexdag.Invalid) {
			t.Errorf("before the start: %v", err)
		}
		if none, err := hexdag.Config().Body(); len(none) > 0 || err != nil {
			t.Errorf("config has a body: %q, %v", none, err)
		}
		return hexdag.Continue()
	}, `{}`)
}

func TestClockRandomAndLog(t *testing.T) {
	host := hexdagtest.New(t)
	host.NodeRun(func(*hexdag.NodeCall) hexdag.Verdict {
		if _, err := hexdag.Now(); !errors.Is(err, hexdag.Denied) {
			t.Errorf("clock without a grant: %v", err)
		}
		if err := hexdag.Random(nil); !errors.Is(err, hexdag.Denied) {
			t.Errorf("random without a grant: %v", err)
		}
		return hexdag.Continue()
	}, `{}`)
	host.Now = func() int64 { return 42 }
	host.Entropy = func(buf []byte) { buf[0] = 7 }
	got := host.NodeRun(func(*hexdag.NodeCall) hexdag.Verdict {
		now, err := hexdag.Now()
		if now != 42 || err != nil {
			t.Errorf("Now() = %d, %v", now, err)
		}
		var b [1]byte
		if err := hexdag.Random(b[:]); err != nil || b[0] != 7 {
			t.Errorf("Random() = %v, %v", b, err)
		}
		hexdag.Log(hexdag.LevelWarn, "careful")
		hexdag.Log(9, "worse")
		for range 300 {
			hexdag.Log(hexdag.LevelInfo, strings.Repeat("x", 9<<10))
		}
		return hexdag.Continue()
	}, `{}`)
	if len(got.Log) != 256 || got.Log[0] != "warn: careful" || got.Log[1] != "error: worse" || got.Log[2] != "info: "+strings.Repeat("x", 8<<10) {
		t.Errorf("%d lines, the first %.20q", len(got.Log), got.Log)
	}
}
