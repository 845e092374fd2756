package sandbox_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// stain changes everything that an instance has; inspect reads it.
func stain() *probe.Script {
	return new(probe.Script).
		Do(probe.Store, memory-1, 0xC5).Do(probe.Grow, 2).Do(probe.Store, memory+70_000, 0xC6).Do(probe.SetGlobal, 0xC7)
}

func inspect() *probe.Script {
	return new(probe.Script).
		Do(probe.Size).Do(probe.Load, memory-1).Do(probe.GetGlobal).Do(probe.CallTable, 0).Do(probe.CallTable, 1).
		Do(probe.InitMemory, free).Do(probe.Load, free).
		Do(probe.Grow, 2).Do(probe.Load, memory+70_000).
		Do(probe.Field, output, "/left", 0, 0).Do(probe.Field, request, "", 0, 0).Do(probe.Field, reply, "", 0, 0).
		Do(probe.Body, request, 0, 0, 0).Do(probe.Body, reply, 0, 0, 0)
}

func pristine() []int64 { return []int64{4, 0, 1, 1, 2, 0, 'd', 4, 0, 0, 0, 0, 0, 0} }

// Whatever a call leaves behind, the next one starts from the beginning.
func TestNothingSurvivesACall(t *testing.T) {
	h := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
		return &kernel.PortReply{Value: "secret", Body: []byte("secret")}, nil
	}}
	documents := func(s *probe.Script) *probe.Script {
		return s.Do(probe.Set, output, "/left", textKind, "secret").Do(probe.Call, "a.b", 0, 0, 0, 0).
			Do(probe.Set, request, "/left", textKind, "secret").Do(probe.Append, request, "secret")
	}
	endings := map[string]func(s *probe.Script) *probe.Script{
		"verdict":  func(s *probe.Script) *probe.Script { return s },
		"trap":     func(s *probe.Script) *probe.Script { return s.Do(probe.Trap) },
		"exit":     func(s *probe.Script) *probe.Script { return s.Do(probe.ProcExit, 0) },
		"deadline": func(s *probe.Script) *probe.Script { return s.Do(probe.Spin) },
		"overflow": func(s *probe.Script) *probe.Script { return s.Do(probe.Recurse, 1<<30) },
	}
	m := loadProbe(t, sandbox.Limits{Deadline: 200 * time.Millisecond})
	for name, end := range endings {
		s := end(documents(stain()))
		_, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Host: h})
		if (err == nil) != (name == "verdict") {
			t.Errorf("%s: %v", name, err)
		}
		for range 3 {
			if results, _ := play(t, m, inspect(), h); !slices.Equal(results, pristine()) {
				t.Errorf("after %s: got %d, want %d", name, results, pristine())
			}
		}
	}
}

// What memory and globals do not show is put back, too, tables and segments, and
// so is a memory that is too big to be copied.
func TestNothingSticks(t *testing.T) {
	r := newRuntime(t)
	for name, clean := range map[string]uint32{"sticky": 1, "sticky-big": 7} {
		m := load(t, r, hostile(t, name), sandbox.Limits{})
		for range 4 {
			out, _, err := call(t, m, sandbox.Call{})
			if err != nil || out.Arg != clean {
				t.Errorf("%s: a later call found %d, a first one %d (%v)", name, out.Arg, clean, err)
			}
		}
	}
}

// Two goroutines may call one module: no call sees another's documents or memory.
func TestConcurrentCalls(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{Deadline: 10 * time.Second})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 25 {
				if err := ownCopy(m, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// ownCopy stains an instance with a caller's number and looks whether it stays.
func ownCopy(m *sandbox.Module, i int) error {
	mark := int64(100 + i)
	s := stain().Do(probe.SetGlobal, mark).Do(probe.Store, free, mark).
		Do(probe.Set, 0, "/args/a", int(abi.KindNumber), fmt.Sprint(mark)).
		Do(probe.GetGlobal).Do(probe.Load, free).Do(probe.CallTable, 0)
	s.Result = uint64(abi.Replace)
	out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image()})
	if err != nil {
		return err
	}
	results, _, err := s.Results(out.Body)
	if err != nil {
		return err
	}
	patched := out.Patched.(map[string]any)["a"]
	if got := results[len(results)-3:]; !slices.Equal(got, []int64{mark, mark, 1}) || patched != kernel.Number(mark) {
		return fmt.Errorf("caller %d sees %d and %v", i, got, patched)
	}
	return nil
}

// The host keeps a copy: what a guest does to its memory after a call changes
// nothing of what it asked for.
func TestTheHostKeepsItsOwnCopy(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	type asked struct {
		op   string
		args map[string]any
		body []byte
	}
	var seen []asked
	h := &fakeHost{call: func(_ context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
		seen = append(seen, asked{op, args, body})
		return &kernel.PortReply{}, nil
	}}
	s := &probe.Script{}
	s.Do(probe.Set, request, "/b", textKind, "kept").Do(probe.Append, request, "body").Do(probe.Call, "one.op", 0, 0, 0, 0).
		Do(probe.Call, "two.op", `{"a":"kept"}`, "kept").
		Do(probe.Set, output, "/x", textKind, "kept").
		Do(probe.Fill, probe.DataAt, 'Z', 1000)
	_, out := play(t, m, s, h)
	if len(seen) != 2 || seen[0].op != "one.op" || seen[0].args["b"] != "kept" || string(seen[0].body) != "body" ||
		seen[1].op != "two.op" || seen[1].args["a"] != "kept" || string(seen[1].body) != "kept" {
		t.Errorf("the host saw %+v", seen)
	}
	if got := out.Output.(map[string]any)["x"]; got != "kept" {
		t.Errorf("the output is %q", got)
	}
}

// The values that a call is given belong to the caller: a guest patches a copy.
func TestTheCallersValuesStay(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	given := input()
	before := string(encode(t, given))
	s := new(probe.Script).Do(probe.Set, 0, "/args/a", textKind, "new").Do(probe.Set, 0, "/args/n/0", textKind, "new").
		Do(probe.Set, 0, "/args/n/1", 0, 0, 0).Do(probe.Set, 0, "/args/o/new", textKind, "new").Do(probe.Set, 0, "/args/n/-", textKind, "new")
	s.Result = uint64(abi.Replace)
	out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: given, Body: s.Image()})
	if err != nil {
		t.Fatal(err)
	}
	if after := string(encode(t, given)); after != before {
		t.Errorf("the caller's value became %s", after)
	}
	if want := `{"a":"new","n":["new",null,"new"],"o":{"new":"new","x/y":"","~":false}}`; string(encode(t, out.Patched)) != want {
		t.Errorf("patched: %s", encode(t, out.Patched))
	}
}

// Patches count with the verdict replace alone.
func TestPatchesNeedTheirVerdict(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	for _, v := range []abi.Verdict{abi.Continue, abi.Skip, abi.Deny, abi.RetryAfter, abi.Error} {
		s := new(probe.Script).Do(probe.Set, 0, "/args/a", textKind, "new")
		s.Result = uint64(v)
		if _, out := play(t, m, s, nil); out.Patched != nil {
			t.Errorf("%s gives a patch: %v", v, out.Patched)
		}
	}
}

// In _initialize a module has no rights, and a call whose _initialize or start
// function fails gives no verdict.
func TestBeforeTheCall(t *testing.T) {
	r := newRuntime(t)
	granted := &fakeHost{
		call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
			return &kernel.PortReply{}, nil
		},
		clock:  func(abi.ClockID) (int64, error) { return 1, nil },
		random: func([]byte) error { return nil },
	}
	m := load(t, r, hostile(t, "early"), sandbox.Limits{})
	for range 2 {
		out, _, err := call(t, m, sandbox.Call{Host: granted})
		if err != nil || out.Verdict != abi.RetryAfter || out.Arg != 0x020202 {
			t.Errorf("call, clock and random answered %#x in _initialize, want denied each (%v)", out.Arg, err)
		}
	}
	for _, name := range []string{"trap-init", "trap-start", "exit-init"} {
		wasm := hostile(t, name)
		m, err := r.Load(context.Background(), wasm, sandbox.LoadOptions{Name: "guest"})
		if err == nil { // or it fails already when it is loaded
			_, err = m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input()})
			m.Close(context.Background())
		}
		wantCode(t, err, kernel.CodeTrap)
	}
}

// An outcome stays as it is when the instance serves another call.
func TestOutcomesAreTheCallers(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	keep := func(text string) *sandbox.Outcome {
		s := new(probe.Script).Do(probe.Append, output, text).Do(probe.Set, output, "/v", textKind, text).Do(probe.Set, 0, "/args/a", textKind, text)
		s.Result = uint64(abi.Replace)
		_, out := play(t, m, s, nil)
		return out
	}
	first := keep("mine")
	keep("ANOTHER'S")
	patched := first.Patched.(map[string]any)["a"]
	if string(first.Body[:4]) != "mine" || first.Output.(map[string]any)["v"] != "mine" || patched != "mine" {
		t.Errorf("after another call: body %q, output %v, patch %v", first.Body[:4], first.Output, patched)
	}
}
