package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const call = `{"op": "llm.complete", "args": {}`

// circuit is a breaker with a memory and a clock that tests move.
type circuit struct {
	*hexdagtest.Host
	t      *testing.T
	memory hexdagtest.Memory
	nowMS  int64
}

func newCircuit(t *testing.T) *circuit {
	c := &circuit{Host: hexdagtest.New(t), t: t, memory: hexdagtest.Memory{}, nowMS: 1_700_000_000_000}
	c.Now = func() int64 { return c.nowMS * 1e6 }
	c.OnMemory(c.memory)
	c.Config(`{"failures": 2, "cooldown_ms": 1000}`)
	return c
}

// tries makes a call that ends with a code, "" for well, and wants it let through or not.
func (c *circuit) tries(code, want string) hexdagtest.Result {
	c.t.Helper()
	got := c.PortBefore(before, call+"}")
	if got.Verdict != want {
		c.t.Fatalf("at %d ms: %+v, want %s; kept %v", c.nowMS, got, want, c.memory)
	}
	if want != "continue" {
		return got
	}
	outcome := `, "reply": {}}`
	if code != "" {
		outcome = `, "error": {"code": "` + code + `", "message": "m"}}`
	}
	if ended := c.PortAfter(after, call+outcome); ended.Verdict != "continue" {
		c.t.Fatalf("after it: %+v", ended)
	}
	return got
}

// TestLife: it opens, stays open, is tried by one call, opens anew, and closes.
func TestLife(t *testing.T) {
	c := newCircuit(t)
	c.tries("failed", "continue")
	c.tries("", "continue") // forgets the failure
	c.tries("failed", "continue")
	c.tries("timeout", "continue")
	got := c.tries("", "deny")
	if got.Code() != "circuit_open" || !strings.Contains(got.Reason(), "opened after 2 failures; the next try is in 1000 ms") {
		t.Errorf("%+v", got)
	}
	c.nowMS += 999
	c.tries("", "deny")
	c.nowMS++
	trial := c.PortBefore(before, call+"}")
	if trial.Verdict != "continue" || trial.Log[0] != "info: breaker/llm.complete is half open" {
		t.Fatalf("%+v", trial)
	}
	if other := c.PortBefore(before, call+"}"); other.Verdict != "deny" || !strings.Contains(other.Reason(), "another call tries") {
		t.Errorf("%+v", other) // one at a time
	}
	c.PortAfter(after, call+`, "error": {"code": "failed", "message": "m"}}`)
	c.tries("", "deny")
	c.nowMS += 1000
	c.tries("", "continue")
	c.tries("", "continue")
	if kept := c.memory["breaker/llm.complete"]; kept != `{"failures":0,"opened_ms":0,"trial_ms":0}` {
		t.Errorf("closed: %s", kept)
	}
}

// TestTrialThatNeverEnds: whoever tried and did not come back does not keep it shut for ever.
func TestTrialThatNeverEnds(t *testing.T) {
	c := newCircuit(t)
	c.tries("failed", "continue")
	c.tries("failed", "continue")
	c.nowMS += 1000
	for range 2 {
		if got := c.PortBefore(before, call+"}"); got.Verdict != "continue" {
			t.Fatalf("%+v", got)
		}
		c.nowMS += 1000
	}
}

func TestCallersErrorsAreNone(t *testing.T) {
	c := newCircuit(t)
	for _, code := range []string{"denied", "port.arguments", "port.not_found", "limit", "approval.needed"} {
		c.tries(code, "continue")
		c.tries(code, "continue")
	}
	if len(c.memory) != 0 {
		t.Errorf("counted %v", c.memory)
	}
	for code, failed := range map[string]bool{"failed": true, "timeout": true, "port.unavailable": true, "retry": true, "module.trap": true, "": false, "denied": false} {
		if isFailure(code) != failed {
			t.Errorf("%q is a failure: %v", code, !failed)
		}
	}
}

// TestFailsClosed: what it cannot know is no reason to go on.
func TestFailsClosed(t *testing.T) {
	c := newCircuit(t)
	c.Now = nil
	if got := c.PortBefore(before, call+"}"); got.Verdict != "error" || !strings.Contains(got.Reason(), "the clock") {
		t.Errorf("%+v", got)
	}
	c = newCircuit(t)
	c.OnCall("memory.get", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Retry, RetryMilliseconds: 30}
	})
	if got := c.PortBefore(before, call+"}"); got.Verdict != "retry_after" || got.RetryMilliseconds != 30 {
		t.Errorf("%+v", got)
	}
	for _, config := range []string{`{"failures": 0}`, `{"cooldown_ms": -1}`} {
		c.Config(config)
		if got := c.PortBefore(before, call+"}"); got.Verdict != "error" || !strings.Contains(got.Reason(), "positive integers") {
			t.Errorf("%s: %+v", config, got)
		}
	}
	if got := newCircuit(t).PortBefore(before, `{"op": "memory.get", "args": {}}`); got.Verdict != "error" || !strings.Contains(got.Reason(), "cannot hook memory.get") {
		t.Errorf("%+v", got)
	}
}

// TestOthersCountAtTheSameTime: a swap that loses is made anew on what the others left.
func TestOthersCountAtTheSameTime(t *testing.T) {
	c := newCircuit(t)
	between, lost := 0, 0
	c.OnCall("memory.compare_and_swap", func(r hexdagtest.Request) hexdagtest.Reply {
		if between > 0 {
			between--
			lost++
			c.memory["breaker/llm.complete"] = `{"failures":1,"opened_ms":0,"trial_ms":0}`
			return hexdagtest.Reply{Value: `{"swapped": false}`}
		}
		c.memory["breaker/llm.complete"] = r.At("/value")
		return hexdagtest.Reply{Value: `{"swapped": true}`}
	})
	between = 2 // of the empty state, there are two ways to be
	c.PortAfter(after, call+`, "error": {"code": "failed", "message": "m"}}`)
	if kept := c.memory["breaker/llm.complete"]; !strings.Contains(kept, `"failures":2`) || lost != 2 {
		t.Errorf("after %d: %s", lost, kept)
	}
	between = 100
	got := c.PortAfter(after, call+`, "error": {"code": "failed", "message": "m"}}`)
	if got.Verdict != "continue" || !strings.Contains(strings.Join(got.Log, ""), "this call is not counted") {
		t.Errorf("%+v", got)
	}
}
