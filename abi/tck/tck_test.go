package tck

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
)

func vectors(t *testing.T) []Vector {
	t.Helper()
	all, err := Vectors()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestVectorsCoverTheABI keeps the kit from losing what it says it holds guests to.
func TestVectorsCoverTheABI(t *testing.T) {
	all := vectors(t)
	if len(all) < 150 {
		t.Errorf("%d vectors", len(all))
	}
	seen := map[string]bool{}
	missing := map[string]bool{}
	for _, do := range strings.Fields("get sum kind text int bool keys keysum count set setint setraw remove append body bodyat copybody call log now elapsed random escape remember continue replace skip deny fail retry") {
		missing["do "+do] = true
	}
	for _, p := range append(abi.Points()[:6], abi.PortCall, abi.Observe) {
		missing["point "+string(p)] = true
	}
	for v := abi.Continue; v <= abi.Error; v++ {
		missing["verdict "+v.String()] = true
	}
	for _, v := range all {
		if name := v.Group + "/" + v.Name; seen[name] {
			t.Errorf("%s is there twice", name)
		} else {
			seen[name] = true
		}
		var config struct {
			Steps []struct {
				Do string `json:"do"`
			} `json:"steps"`
		}
		if v.Config != nil {
			if err := json.Unmarshal(v.Config, &config); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range config.Steps {
			delete(missing, "do "+s.Do)
		}
		delete(missing, "point "+string(v.Point))
		delete(missing, "verdict "+v.Want.Verdict)
	}
	for what := range missing {
		t.Errorf("no vector has %s", what)
	}
}

// obedient is a host whose guest does what the vector wants: in place of
// WebAssembly it looks the answer up.
type obedient struct {
	spoil  func(*Result)
	extra  string
	closed *bool
}

func (o obedient) Load(context.Context, []byte) (Module, error) { return o, nil }

func (o obedient) Close(context.Context) error {
	*o.closed = true
	return nil
}

func (o obedient) Call(ctx context.Context, c Call) (Result, error) {
	v := c.World.(*world).vector
	for _, line := range v.Want.Log {
		level, text, _ := strings.Cut(line, " ")
		c.World.Log(abi.Level(slices.Index([]string{"debug", "info", "warn", "error"}, level)), text)
	}
	if o.extra != "" {
		c.World.Log(abi.LevelInfo, o.extra)
	}
	for _, call := range v.Want.Calls {
		if v.Ports[call.Op].Reenter == nil {
			c.World.Call(ctx, call.Op, call.Args, []byte(call.Body))
		} else {
			c.World.(*world).calls = append(c.World.(*world).calls, call)
		}
	}
	got := Result{Arg: v.Want.Arg, Patched: v.Want.Patched, Output: v.Want.Output, Body: []byte(v.Want.Body)}
	for verdict := abi.Continue; verdict <= abi.Error; verdict++ {
		if verdict.String() == v.Want.Verdict {
			got.Verdict = verdict
		}
	}
	if v.Name == "no verdict" {
		return got, errors.New("trap")
	}
	if o.spoil != nil {
		o.spoil(&got)
	}
	return got, nil
}

func probe(t *testing.T) []byte {
	t.Helper()
	wasm, err := abi.EmbedManifest([]byte("\x00asm\x01\x00\x00\x00"), &abi.Manifest{
		Name: "probe", Version: "1.0.0", Tools: []abi.Tool{{Name: "probe", InputSchema: []byte(`{}`)}},
		Operations:   []abi.Operation{{Name: "probe.play", Guards: []string{"name"}}},
		Capabilities: []abi.Capability{{Op: "database.query"}, {Op: "clock.read"}, {Op: "random.read"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func TestRun(t *testing.T) {
	var closed bool
	told := 0
	checks, err := Run(t.Context(), obedient{closed: &closed}, probe(t), func(Check) { told++ })
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if !c.Pass() {
			t.Errorf("%s/%s: %q", c.Group, c.Name, c.Problems)
		}
	}
	if !closed || told != len(checks) || Passed(checks) != len(checks) {
		t.Errorf("closed %v, told of %d, passed %d of %d", closed, told, Passed(checks), len(checks))
	}
	groups := Groups(checks)
	if groups[0].Name != "manifest" || len(groups) != 15 {
		t.Errorf("%d groups, first %s", len(groups), groups[0].Name)
	}
}

// TestEveryDifferenceIsSeen spoils one thing at a time.
func TestEveryDifferenceIsSeen(t *testing.T) {
	for name, tc := range map[string]struct {
		host obedient
		says string
	}{
		"verdict": {obedient{spoil: func(r *Result) { r.Verdict = (r.Verdict + 1) % 6 }}, "verdict: got"},
		"arg":     {obedient{spoil: func(r *Result) { r.Arg++ }}, "argument of the verdict: got"},
		"patched": {obedient{spoil: func(r *Result) { r.Patched = json.RawMessage(`{"x":9007199254740992}`) }}, "patched value: got"},
		"output":  {obedient{spoil: func(r *Result) { r.Output = json.RawMessage(`{"x":1.0}`) }}, "output: got"},
		"body":    {obedient{spoil: func(r *Result) { r.Body = append(r.Body, 0) }}, "output's body: got"},
		"log":     {obedient{extra: "more"}, `got "info more", want none`},
	} {
		tc.host.closed = new(bool)
		checks, err := Run(t.Context(), tc.host, probe(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks[4:] {
			if !strings.Contains(strings.Join(c.Problems, "\n"), tc.says) {
				t.Errorf("%s: %s/%s: %q", name, c.Group, c.Name, c.Problems)
			}
		}
	}
}

func TestCallsAndNoVerdictAreSeen(t *testing.T) {
	v := Vector{Name: "no verdict", Want: Want{Verdict: "continue"}}
	if c := v.check(t.Context(), obedient{}); len(c.Problems) != 2 || !strings.Contains(c.Problems[1], "the second time: no verdict: trap") {
		t.Errorf("%q", c.Problems)
	}
	made := MadeCall{Op: "a.b", Args: json.RawMessage(`{"n": 1.0}`), Body: "x"}
	w := &world{vector: &Vector{}}
	w.Call(t.Context(), "a.b", json.RawMessage(`{"n":1.0}`), []byte("x"))
	same := Want{Verdict: "continue", Calls: []MadeCall{made}}
	if p := same.differences(&Result{}, w); len(p) != 0 {
		t.Errorf("%q", p)
	}
	for _, spoiled := range []MadeCall{{Op: "a.c", Args: made.Args, Body: "x"}, {Op: "a.b", Args: json.RawMessage(`{"n":1}`), Body: "x"}, {Op: "a.b", Args: made.Args, Body: "y"}} {
		want := Want{Verdict: "continue", Calls: []MadeCall{spoiled}}
		if p := want.differences(&Result{}, w); len(p) != 1 || !strings.HasPrefix(p[0], "call 1: got a.b") {
			t.Errorf("%+v: %q", spoiled, p)
		}
	}
}

func TestWorldAnswers(t *testing.T) {
	v := Vector{Clock: []int64{5}, Random: "ab", Ports: map[string]Port{"a.b": {}, "a.c": {Status: "retry", Code: "c", Message: "m", RetryMilliseconds: 7}}}
	w := &world{vector: &v}
	if r := w.Call(t.Context(), "a.b", nil, nil); r.Status != abi.OK || string(r.Value) != "{}" {
		t.Errorf("%+v", r)
	}
	if r := w.Call(t.Context(), "a.c", nil, nil); r.Status != abi.Retry || r.RetryMilliseconds != 7 {
		t.Errorf("%+v", r)
	}
	if r := w.Call(t.Context(), "x.y", nil, nil); r.Status != abi.Denied || r.Message != "x.y is not granted" {
		t.Errorf("%+v", r)
	}
	if ns, status := w.Clock(0); ns != 5 || status != abi.OK {
		t.Error("clock 0")
	}
	if _, status := w.Clock(1); status != abi.Denied {
		t.Error("clock 1")
	}
	p := make([]byte, 3)
	if w.Random(p) != abi.OK || string(p) != "aba" || (&world{vector: &Vector{}}).Random(p) != abi.Denied {
		t.Errorf("random %q", p)
	}
}

func TestManifestIsChecked(t *testing.T) {
	for _, c := range checkManifest([]byte("\x00asm\x01\x00\x00\x00")) {
		if c.Pass() {
			t.Errorf("%s without a manifest", c.Name)
		}
	}
	wasm, err := abi.EmbedManifest([]byte("\x00asm\x01\x00\x00\x00"), &abi.Manifest{Name: "probe", Version: "1.0.0", Tools: []abi.Tool{{Name: "probe"}}})
	if err != nil {
		t.Fatal(err)
	}
	if checks := checkManifest(wasm); !checks[0].Pass() || checks[1].Pass() || len(checks[2].Problems) != 3 || checks[3].Pass() {
		t.Errorf("%+v", checks)
	}
}

func TestMacros(t *testing.T) {
	got, err := parseVectors("g", []byte(`{"vectors": [{"name": "n", "config": {"a": {"$repeat": ["xy", 2]}, "b": {"$nest": [1, 2]}, "c": {"$sum": ["s ", "abc"]}, "d": {"$sum": ["", [1]]}}, "body": {"$hex": "00ff"}, "want": {"verdict": "continue"}}]}`))
	if err != nil || len(got) != 1 || got[0].Body != "\x00\xff" || string(got[0].Config) != `{"a":"xyxy","b":[[1]],"c":"s 3 440920331","d":"3 1981202788"}` {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{`{`, `{"vectors": [{"nome": "n"}]}`, `{"vectors": [{"name": {"$repeat": [1, 2]}}]}`, `{"vectors": [{"name": {"$times": ["a", 2]}}]}`, `{"vectors": [{"name": {"$repeat": ["a"]}}]}`,
		`{"vectors": [{"name": "n", "body": {"$hex": "0x"}}]}`, `{"vectors": [{"name": "n", "ports": {"a.b": {"status": "no"}}}]}`, `{"vectors": [{"name": "n", "ports": {"a.b": {"reenter": {"input": []}}}}]}`} {
		if _, err := parseVectors("g", []byte(text)); err == nil {
			t.Errorf("%s is no error", text)
		}
	}
}
