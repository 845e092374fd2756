package sandbox_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// moving reads 1 KB of its body and appends 600 bytes, n times.
func moving(n int) *probe.Script {
	s := new(probe.Script)
	for range n {
		s.Do(probe.Body, 0, 0, free, 1024).Do(probe.Append, request, strings.Repeat("x", 600))
	}
	return s
}

func wantWords(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in %v", word, err)
		}
	}
}

func TestBytesOfACall(t *testing.T) {
	r := newRuntime(t)
	body := moving(10).Image()
	for name, c := range map[string]struct {
		limits sandbox.Limits
		words  []string
	}{
		"enough": {sandbox.Limits{BytesIn: 1 << 20, BytesOut: 1 << 20}, nil},
		"in":     {sandbox.Limits{BytesIn: int64(len(body)) + 3000}, []string{"took more bytes than it may in port_before", "limits.bytes_in is", "raise it"}},
		"out":    {sandbox.Limits{BytesOut: 1500}, []string{"gave more bytes than it may in port_before", "limits.bytes_out is 1500", "raise it"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := load(t, r, probe.Wasm, c.limits)
			out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: body})
			if c.words == nil {
				if err != nil || out.Usage.BytesIn < 10*1024 || out.Usage.BytesOut < 10*600 {
					t.Errorf("%v, %+v", err, out.Usage)
				}
				return
			}
			wantCode(t, err, kernel.CodeLimit)
			wantWords(t, err, c.words...)
		})
	}
}

// What a run has is used up by its calls together, whatever each of them may.
func TestBudgetsOfARun(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	play := func(s *probe.Script, b *kernel.Budgets, h sandbox.Host) ([]int64, *sandbox.Outcome, error) {
		t.Helper()
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Host: h, Budgets: b})
		if err != nil {
			return nil, out, err
		}
		results, _, err := s.Results(out.Body)
		return results, out, err
	}
	budget := func(n int64) *kernel.Budget { return kernel.NewBudget(n, nil) }

	_, once, err := play(moving(10), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*kernel.Budgets{
		"bytes_in":  {BytesIn: budget(once.Usage.BytesIn*2 + 10)},
		"bytes_out": {BytesOut: budget(once.Usage.BytesOut*2 + 10)},
		"fuel":      {Fuel: budget(once.Usage.Fuel*2 + 10)},
	} {
		for range 2 {
			if _, _, err := play(moving(10), b, nil); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, _, err := play(moving(10), b, nil)
		wantCode(t, err, kernel.CodeLimit)
		wantWords(t, err, "run or tenant is used up")
		if name != "fuel" {
			wantWords(t, err, name, "run_limits."+name)
		}
	}

	h := &fakeHost{call: func(context.Context, string, map[string]any, []byte) (*kernel.PortReply, error) {
		return &kernel.PortReply{}, nil
	}}
	twice := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.Log, 1, "a").Do(probe.Log, 1, "b")
	b := &kernel.Budgets{HostCalls: budget(3), LogLines: budget(3)}
	for n, want := range [][]abi.Status{{abi.OK, abi.OK, abi.OK, abi.OK}, {abi.OK, abi.Limit, abi.OK, abi.Limit}} {
		results, _, err := play(twice, b, h)
		if err != nil {
			t.Fatal(err)
		}
		for i, status := range want {
			if results[i] != int64(status) {
				t.Errorf("call %d, import %d answered %d, want %s", n, i, results[i], status)
			}
		}
	}
	if len(h.lines) != 3 {
		t.Errorf("%d lines", len(h.lines))
	}
}

// counting is an endless module that counts what is read of it.
type counting struct{ read int }

func (c *counting) Read(p []byte) (int, error) {
	c.read += len(p)
	return len(p), nil
}

func TestReadModuleStopsAtTheLimit(t *testing.T) {
	endless := &counting{}
	_, err := sandbox.ReadModule(endless, 1<<20)
	wantCode(t, err, kernel.CodeLimit)
	wantWords(t, err, "more than 1048576 bytes", "static_limits.module_bytes")
	if endless.read > 2<<20 {
		t.Errorf("read %d bytes of an endless module", endless.read)
	}
	if wasm, err := sandbox.ReadModule(strings.NewReader(string(probe.Wasm)), 0); err != nil || len(wasm) != len(probe.Wasm) {
		t.Errorf("%d bytes, %v", len(wasm), err)
	}
	if wasm, err := sandbox.ReadModule(io.LimitReader(endless, 1<<20), 1<<20); err != nil || len(wasm) != 1<<20 {
		t.Errorf("as long as the limit: %d bytes, %v", len(wasm), err)
	}
}

func TestStaticLimitsAreTheOperators(t *testing.T) {
	r := newRuntime(t)
	_, err := r.Load(t.Context(), probe.Wasm, sandbox.LoadOptions{Name: "guest", Static: rewrite.Options{MaxFunctions: 3}})
	wantCode(t, err, kernel.CodeLimit)
	wantWords(t, err, "functions", "the limit is 3", "static_limits.functions")
	m, err := r.Load(t.Context(), probe.Wasm, sandbox.LoadOptions{Name: "guest", Static: rewrite.Options{MaxDepth: 50}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	if got := m.Static(); got.MaxDepth != 50 || got.MaxFunctions != rewrite.DefaultOptions().MaxFunctions {
		t.Errorf("held to %+v", got)
	}
	_, err = m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Body: new(probe.Script).Do(probe.Recurse, 1000).Image()})
	wantCode(t, err, kernel.CodeLimit)
	wantWords(t, err, "static_limits.depth is 50")
}
