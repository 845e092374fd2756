package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const call = `{"op": "llm.complete", "args": {}, "run": {"principal": "ann"}}`

// limited is a limit with a memory and a clock, in milliseconds, that tests move.
type limited struct {
	*hexdagtest.Host
	memory hexdagtest.Memory
	nowMS  int64
}

func newLimited(t *testing.T, config string) *limited {
	l := &limited{Host: hexdagtest.New(t), memory: hexdagtest.Memory{}, nowMS: 1_700_000_000_000}
	l.Now = func() int64 { return l.nowMS * 1e6 }
	l.OnMemory(l.memory)
	l.Config(config)
	return l
}

func (l *limited) verdict() string { return l.PortBefore(limit, call).Verdict }

// TestPace: a burst, then one call in each interval, however long it was quiet.
func TestPace(t *testing.T) {
	l := newLimited(t, `{"calls": 10, "per_ms": 1000, "burst": 3}`)
	for round := range 3 {
		for i := range 3 {
			if got := l.verdict(); got != "continue" {
				t.Fatalf("round %d, call %d of the burst: %s", round, i, got)
			}
		}
		got := l.PortBefore(limit, call)
		if got.Verdict != "deny" || got.Code() != "rate_limited" || !strings.Contains(got.Reason(), "rate/llm.complete is reached: the next call may be made in 100 ms") {
			t.Fatalf("round %d: %+v", round, got)
		}
		for i := range 5 {
			l.nowMS += 99
			if got := l.verdict(); got != "deny" {
				t.Fatalf("round %d, too early %d: %s", round, i, got)
			}
			l.nowMS++
			if got := l.verdict(); got != "continue" {
				t.Fatalf("round %d, in time %d: %s", round, i, got)
			}
		}
		l.nowMS += 60_000
	}
}

// TestNoMoreThanAllowed counts what passes in a long time of calls that never stop.
func TestNoMoreThanAllowed(t *testing.T) {
	l := newLimited(t, `{"calls": 7, "per_ms": 1000, "burst": 4}`)
	passed := 0
	for range 1000 { // 10 s
		if l.verdict() == "continue" {
			passed++
		}
		l.nowMS += 10
	}
	if passed < 72 || passed > 74 { // 70 at the pace, and 3 more of the burst
		t.Errorf("%d passed", passed)
	}
}

func TestWaits(t *testing.T) {
	l := newLimited(t, `{"calls": 1, "per_ms": 2500, "wait": true}`)
	l.verdict()
	l.nowMS += 1000
	if got := l.PortBefore(limit, call); got.Verdict != "retry_after" || got.RetryMilliseconds != 1500 {
		t.Errorf("%+v", got)
	}
}

func TestWhoIsCountedTogether(t *testing.T) {
	l := newLimited(t, `{"calls": 1, "each": "principal", "name": "n"}`)
	l.verdict()
	if got := l.PortBefore(limit, strings.Replace(call, "ann", "bob", 1)); got.Verdict != "continue" {
		t.Errorf("%+v", got)
	}
	if l.verdict() != "deny" || l.memory["n/llm.complete/ann"] == "" || l.memory["n/llm.complete/bob"] == "" {
		t.Errorf("kept %v", l.memory)
	}
}

// TestAnotherComesBetween: who loses the swap looks again, and after five times is too early.
func TestAnotherComesBetween(t *testing.T) {
	l := newLimited(t, `{"calls": 2, "per_ms": 1000}`)
	lost := 0
	l.OnCall("memory.compare_and_swap", func(hexdagtest.Request) hexdagtest.Reply {
		lost++
		return hexdagtest.Reply{Value: `{"swapped": false}`}
	})
	if got := l.PortBefore(limit, call); got.Verdict != "deny" || lost != 5 {
		t.Errorf("after %d: %+v", lost, got)
	}
}

func TestFailsClosed(t *testing.T) {
	for _, config := range []string{`{}`, `{"calls": 0}`, `{"calls": 2, "burst": 3}`, `{"calls": 1, "per_ms": 0}`, `{"calls": 2000000000}`, `{"calls": 1, "each": "planet"}`} {
		if got := newLimited(t, config).verdict(); got != "error" {
			t.Errorf("%s: %s", config, got)
		}
	}
	l := newLimited(t, `{"calls": 1}`)
	l.OnCall("memory.get", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Unavailable, Code: "port.unavailable"}
	})
	if got := l.PortBefore(limit, call); got.Verdict != "error" || got.Code() != "port.unavailable" {
		t.Errorf("%+v", got)
	}
	l = newLimited(t, `{"calls": 1}`)
	l.Now = nil
	if got := l.verdict(); got != "error" {
		t.Error(got)
	}
	if got := newLimited(t, `{"calls": 1}`).PortBefore(limit, `{"op": "memory.set", "args": {}}`); got.Verdict != "error" {
		t.Errorf("%+v", got)
	}
}
