package moduletest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/toolchain"
)

// puppet is a guest that does what its configuration says.
const puppet = "../testdata/puppet/puppet.wasm"

type allow struct{}

func (allow) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}

func (allow) Audit(context.Context, *kernel.AuditRecord) error { return nil }

func open(t *testing.T) *Suite {
	t.Helper()
	return openFile(t, puppet)
}

func openFile(t *testing.T, file string) *Suite {
	t.Helper()
	ctx := context.Background()
	runtime, err := sandbox.New(ctx, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close(ctx) })
	ops := []ports.Op{{Name: "metrics.count", Guards: []string{"name"}}, {Name: "database.query", Guards: []string{"table"}}}
	s, err := Open(ctx, file, Options{Runtime: runtime, Door: ports.NewDoor(allow{}, allow{}), Ops: ops})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(ctx) })
	return s
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "x"+Suffix)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, text string) *Case {
	t.Helper()
	c, err := Read(write(t, text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return c
}

const counts = `"config": {"op": "metrics.count", "args": {"name": "good"}, "log": "a\u001b"}, "calls": [{"op": "metrics.count", "args": {"name": "good"}, "reply": {"n": 1.50}}]`

// TestRun holds every kind of expectation to a module that meets it and to one that
// does not: a runner that compares nothing would pass the former alone.
func TestRun(t *testing.T) {
	s := open(t)
	for _, tc := range []struct {
		name, text string
		problems   []string // a part of each
	}{
		{"as expected", `{"point": "node_run", "input": {}, ` + counts + `, "expect": {"verdict": "continue", "output": {"n": 1.50}, "log": ["info: a\u001b"], "max_fuel": 100000}}`, nil},
		{"only what is named", `{"point": "node_run", "input": {}, ` + counts + `, "expect": {"verdict": "continue"}}`, nil},
		{"a patch", `{"point": "node_before", "input": {"input": 7}, "config": {"verdict": 1}, "expect": {"verdict": "replace", "patched": 7}}`, nil},
		{"no output", `{"point": "node_run", "input": {}, "expect": {"verdict": "continue", "output": null, "log": []}}`, nil},
		{"a reason", `{"point": "node_run", "input": {}, "config": {"verdict": 3, "output": {"reason": "too late"}}, "expect": {"verdict": "deny", "says": "late"}}`, nil},
		{"a delay", `{"point": "node_run", "input": {}, "config": {"verdict": 4}, "expect": {"verdict": "retry_after", "retry_ms": 0}}`, nil},
		{"an ending without verdict", `{"point": "node_run", "input": {}, "config": {"verdict": 2}, "expect": {"error": "module.abi"}}`, nil},
		{"an answer that is an error", `{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "good"}}, "calls": [{"op": "metrics.count", "args": {"name": "good"}, "error": {"code": "port.unavailable", "message": "gone"}}], "expect": {"verdict": "error", "says": "gone"}}`, nil},
		{"a refusal that is expected", `{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "ugly"}}, "calls": [{"op": "metrics.count", "args": {"name": "ugly"}, "error": {"code": "denied"}}], "expect": {"verdict": "error", "says": "does not request it"}}`, nil},

		{"another verdict", `{"point": "node_run", "input": {}, "config": {"verdict": 3, "output": {"reason": "no\u001b"}}, "expect": {"verdict": "continue"}}`, []string{`the verdict is deny (no\x1b), expected continue`}},
		{"another output", `{"point": "node_run", "input": {}, ` + counts + `, "expect": {"verdict": "continue", "output": {"n": 1.5}}}`, []string{`output is {"n":1.50}, expected {"n":1.5}`}},
		{"another patch", `{"point": "node_before", "input": {"input": 7}, "config": {"verdict": 1}, "expect": {"verdict": "replace", "patched": 8}}`, []string{"patched is 7, expected 8"}},
		{"another reason", `{"point": "node_run", "input": {}, "config": {"verdict": 3, "output": {"reason": "x"}}, "expect": {"verdict": "deny", "says": "late"}}`, []string{"the reason is x, expected one that says late"}},
		{"another delay", `{"point": "node_run", "input": {}, "config": {"verdict": 4}, "expect": {"verdict": "retry_after", "retry_ms": 5}}`, []string{"after 0 ms, expected 5"}},
		{"another log", `{"point": "node_run", "input": {}, ` + counts + `, "expect": {"verdict": "continue", "log": []}}`, []string{`the log is [info: a\x1b], expected []`}},
		{"a body", `{"point": "node_run", "input": {}, "expect": {"verdict": "continue", "body": "x"}}`, []string{"the body is , expected x"}},
		{"too much fuel", `{"point": "node_run", "input": {}, "expect": {"verdict": "continue", "max_fuel": 3}}`, []string{"expected at most 3"}},
		{"an error that is none", `{"point": "node_run", "input": {}, "expect": {"error": "module.trap"}}`, []string{"the verdict is continue, expected the error module.trap"}},
		{"an error", `{"point": "node_run", "input": {}, "config": {"verdict": 2}, "expect": {"verdict": "skip"}}`, []string{"ended with no verdict"}},
		{"an unexpected call", `{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "good"}}, "expect": {"verdict": "error"}}`, []string{`call 1 is not expected: metrics.count {"name":"good"}`}},
		{"a missing call", `{"point": "node_run", "input": {}, "calls": [{"op": "metrics.count"}], "expect": {"verdict": "continue"}}`, []string{"call 1 is missing: metrics.count {}"}},
		{"other arguments", `{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "good"}}, "calls": [{"op": "metrics.count", "args": {"name": "bad"}}], "expect": {"verdict": "error"}}`, []string{`call 1 is metrics.count {"name":"good"}, expected metrics.count {"name":"bad"}`}},
		{"a call that the manifest does not request", `{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "ugly"}}, "calls": [{"op": "metrics.count", "args": {"name": "ugly"}, "reply": {}}], "expect": {"verdict": "error"}}`, []string{"call 1, metrics.count, was refused"}},
		{"no such tool", `{"point": "tool_call", "input": {"tool": "pul"}, "expect": {"verdict": "continue"}}`, []string{"did you mean pull?"}},
	} {
		r, err := s.Run(t.Context(), read(t, tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		missing := len(r.Problems) != len(tc.problems)
		for i := 0; !missing && i < len(tc.problems); i++ {
			missing = !strings.Contains(r.Problems[i], tc.problems[i])
		}
		if missing || r.Passed() != (len(tc.problems) == 0) {
			t.Errorf("%s: problems %q, want %q", tc.name, r.Problems, tc.problems)
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for text, word := range map[string]string{
		`{`:                      "JSON",
		`{"point": "node_runn"}`: "did you mean node_run?",
		`{"point": "node_run"}`:  "expect has to name a verdict",
		`{"point": "node_run", "expect": {"verdict": "skipp"}}`:                                                                   "did you mean skip?",
		`{"point": "node_run", "expect": {"verdict": "skip", "error": "failed"}}`:                                                 "expect has to name a verdict",
		`{"point": "node_run", "expect": {"verdict": "skip"}, "calls": [{"args": {}}]}`:                                           "names no op",
		`{"point": "node_run", "expect": {"verdict": "skip"}, "calls": [{"op": "a.b", "reply": 1, "error": {"code": "failed"}}]}`: "both a reply and an error",
		`{"point": "node_run", "expect": {"verdict": "skip"}, "inputs": {}}`:                                                      "inputs",
		`{"point": "node_run", "point": "node_run", "expect": {"verdict": "skip"}}`:                                               "twice",
	} {
		_, err := Read(write(t, text))
		if kernel.CodeOf(err) != kernel.CodeInput || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := Find(t.TempDir()); kernel.CodeOf(err) != kernel.CodeInput || !strings.Contains(err.Error(), "--record") {
		t.Errorf("no cases: %v", err)
	}
}

// TestRecordedCasePasses records every case's call and runs what was recorded.
func TestRecordedCasePasses(t *testing.T) {
	s := open(t)
	for i, text := range []string{
		`{"point": "node_run", "input": {}, ` + counts + `, "expect": {"verdict": "continue"}}`,
		`{"point": "node_before", "input": {"input": 7}, "config": {"verdict": 1}, "expect": {"verdict": "replace"}}`,
		`{"point": "node_run", "input": {}, "config": {"verdict": 2}, "expect": {"error": "module.abi"}}`,
		`{"point": "node_run", "input": {}, "config": {"op": "metrics.count", "args": {"name": "good"}}, "calls": [{"op": "metrics.count", "args": {"name": "good"}, "error": {"code": "retry", "message": "later", "retry_ms": 70}}], "expect": {"verdict": "error"}}`,
	} {
		r, err := s.Run(t.Context(), read(t, text))
		if err != nil || !r.Passed() {
			t.Fatalf("%s: %v %v", text, err, r)
		}
		c, err := FromTrace(r.Trace, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		c.File = filepath.Join(t.TempDir(), "recorded"+Suffix)
		if err := c.Write(); err != nil {
			t.Fatal(err)
		}
		if err := c.Write(); err == nil {
			t.Error("a case was written over another")
		}
		again, err := Read(c.File)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := s.Run(t.Context(), again); err != nil || !r.Passed() {
			t.Errorf("case %d: %v %q", i, err, r.Problems)
		}
		if again.Expect.MaxFuel == 0 || len(again.Calls) != len(r.Trace.Calls) {
			t.Errorf("case %d is recorded in part: %+v", i, again)
		}
	}
}

func TestBench(t *testing.T) {
	s := open(t)
	timing, err := s.Bench(t.Context(), read(t, `{"point": "node_run", "input": {}, `+counts+`, "expect": {"verdict": "continue"}}`), 5)
	if err != nil || timing.Calls != 5 || timing.Median <= 0 || timing.Slowest < timing.Median || timing.Fuel == 0 {
		t.Errorf("%+v, %v", timing, err)
	}
	if _, err := s.Bench(t.Context(), read(t, `{"point": "node_run", "input": {}, "config": {"verdict": 2}, "expect": {"verdict": "skip"}}`), 5); kernel.CodeOf(err) != kernel.CodeABI {
		t.Errorf("a call that fails was timed: %v", err)
	}
}

// TestClockAndRandomness gives a guest the time and the randomness of the case, and
// tells where it asks for more than the case gives.
func TestClockAndRandomness(t *testing.T) {
	wasm, err := abi.EmbedManifest(probe.Wasm, &abi.Manifest{Name: "probe", Version: "1.0.0", Capabilities: []abi.Capability{{Op: abi.OpClock}, {Op: abi.OpRandom}, {Op: "metrics.count"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "probe.wasm")
	if err := os.WriteFile(file, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openFile(t, file)
	asks := new(probe.Script).Do(probe.Clock, 0).Do(probe.Clock, 1).Do(probe.Random, probe.DataAt, 4).Do(probe.Load, probe.DataAt+3)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	c := &Case{File: "x" + Suffix, Point: abi.PortBefore, Bytes: asks.Image(), Clock: []time.Time{at, at.Add(7)}, Random: []byte("abcd"), Expect: Expect{Verdict: "continue"}}
	run := func(c *Case) *Result {
		t.Helper()
		r, err := s.Run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := run(c)
	results, _, err := asks.Results(r.Trace.Outcome.Body)
	if want := []int64{at.UnixNano(), 7, 0, 'd'}; err != nil || !r.Passed() || !slices.Equal(results, want) {
		t.Errorf("got %d, want %d; %v %q", results, want, err, r.Problems)
	}
	recorded, err := FromTrace(r.Trace, at)
	if err != nil {
		t.Fatal(err)
	}
	recorded.File = filepath.Join(t.TempDir(), "again"+Suffix)
	if err := recorded.Write(); err != nil {
		t.Fatal(err)
	}
	again, err := Read(recorded.File)
	if err != nil {
		t.Fatal(err)
	}
	if r := run(again); !r.Passed() || again.Expect.Bytes == nil {
		t.Errorf("what was recorded: %q", r.Problems)
	}
	again.Clock[1] = at.Add(8)
	if r := run(again); len(r.Problems) != 1 || !strings.Contains(r.Problems[0], "the body is ") {
		t.Errorf("another time: %q", r.Problems)
	}
	c.Clock, c.Random = nil, []byte("ab")
	if r := run(c); len(r.Problems) != 2 || !strings.Contains(r.Problems[0], "add clock") || !strings.Contains(r.Problems[1], "add random_base64") {
		t.Errorf("without time and randomness: %q", r.Problems)
	}
}

// TestOperations: an operation of a port is held to its schemas, and may call those of
// ports that no host has by itself, as far as the manifest asks for them.
func TestOperations(t *testing.T) {
	testenv.NeedClang(t)
	file := filepath.Join(t.TempDir(), "probe.wasm")
	if err := toolchain.Build(t.Context(), "../../guests/sdk/c/probe", file, t.Output()); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(file)
	if err == nil {
		wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	}
	if err == nil {
		wasm, err = abi.EmbedManifest(wasm, &abi.Manifest{
			Name: "greeter", Version: "1.0.0", Operations: []abi.Operation{{Name: "greetings.greet", InputSchema: []byte(`{"required": ["name"]}`), OutputSchema: []byte(`{"type": "object"}`)}},
			Capabilities: []abi.Capability{{Op: "weather.now", Args: map[string][]string{"city": {"B*"}}}, {Op: "weather.all"}, {Op: abi.OpClock}, {Op: abi.OpRandom}},
		})
	}
	if err == nil {
		err = os.WriteFile(file, wasm, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := openFile(t, file)
	const object, text = `{"do": "set", "doc": "output", "at": "/a", "kind": "null", "value": "null"}`, `{"do": "set", "doc": "output", "at": "", "kind": "string", "value": "x"}`
	const bern = `"calls": [{"op": "weather.now", "args": {"city": "Bern"}, "reply": {"sky": "blue"}}], `
	for name, tc := range map[string]struct{ op, args, steps, calls, problem string }{
		"as described":         {"greetings.greet", `{"name": "Ada"}`, object, "", ""},
		"arguments":            {"greetings.greet", `{}`, object, "", "the case's arguments do not fit the schema"},
		"result":               {"greetings.greet", `{"name": "Ada"}`, text, "", "the result do not fit the schema"},
		"a misspelt operation": {"greetings.greeet", `{"name": "Ada"}`, object, "", "no operation greetings.greeet: did you mean greetings.greet?"},
		"another port":         {"greetings.greet", `{"name": "Ada"}`, object + `, {"do": "call", "op": "weather.now", "args": [["/city", "string", "Bern"]]}`, bern, ""},
		"what it does not ask": {"greetings.greet", `{"name": "Ada"}`, object + `, {"do": "call", "op": "weather.now", "args": [["/city", "string", "Paris"]]}`, "", "weather.now"},
	} {
		r, err := s.Run(t.Context(), read(t, `{"point": "port_call", "input": {"op": "`+tc.op+`", "args": `+tc.args+`}, "config": {"steps": [`+tc.steps+`]}, `+tc.calls+`"expect": {"verdict": "continue"}}`))
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(r.Problems, "\n"); r.Passed() != (tc.problem == "") || !strings.Contains(all, tc.problem) {
			t.Errorf("%s: %s", name, all)
		}
	}
}
