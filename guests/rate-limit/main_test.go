package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const call = `{"op": "llm.complete", "args": {}, "run": {"principal": "ann"}}`

// locked is a host whose lock port answers so, and keeps what it was asked.
func locked(t *testing.T, config, reply string) *hexdagtest.Host {
	t.Helper()
	host := hexdagtest.New(t)
	host.Config(config)
	host.OnCall("lock.acquire", func(hexdagtest.Request) hexdagtest.Reply { return hexdagtest.Reply{Value: reply} })
	return host
}

// TestPermits: a semaphore of as many permits as the burst, each for the time in which
// the pace lets as many through.
func TestPermits(t *testing.T) {
	for config, args := range map[string]string{
		`{"calls": 10, "per_ms": 1000}`:             `{"detached":true,"name":"rate/llm.complete","permits":10,"timeout":0,"ttl":1}`,
		`{"calls": 10, "per_ms": 1000, "burst": 3}`: `{"detached":true,"name":"rate/llm.complete","permits":3,"timeout":0,"ttl":0.3}`,
		`{"calls": 3, "per_ms": 1000, "burst": 1}`:  `{"detached":true,"name":"rate/llm.complete","permits":1,"timeout":0,"ttl":0.334}`, // no shorter than the pace
		`{"calls": 2}`: `{"detached":true,"name":"rate/llm.complete","permits":2,"timeout":0,"ttl":60}`,
		`{"calls": 1, "name": "n", "each": "principal"}`:            `{"detached":true,"name":"n/llm.complete/ann","permits":1,"timeout":0,"ttl":60}`,
		`{"calls": 1, "each": "tenant", "per_ms": 10}`:              `{"detached":true,"name":"rate/llm.complete","permits":1,"timeout":0,"ttl":0.01}`,
		`{"calls": 1000000000, "per_ms": 1000000000, "burst": 100}`: `{"detached":true,"name":"rate/llm.complete","permits":100,"timeout":0,"ttl":0.1}`,
	} {
		got := locked(t, config, `{"acquired": true}`).PortBefore(limit, call)
		if got.Verdict != "continue" || len(got.Calls) != 1 || got.Calls[0].Args != args {
			t.Errorf("%s: %+v", config, got)
		}
	}
}

func TestTooEarly(t *testing.T) {
	const config = `{"calls": 4, "per_ms": 2000`
	got := locked(t, config+"}", `{"acquired": false, "retry_after_ms": 70}`).PortBefore(limit, call)
	if got.Verdict != "deny" || got.Code() != "rate_limited" || !strings.Contains(got.Reason(), "rate/llm.complete is reached: the next call may be made in 70 ms") {
		t.Errorf("%+v", got)
	}
	for reply, want := range map[string]uint32{`{"acquired": false, "retry_after_ms": 70}`: 70, `{"acquired": false}`: 500, `{"acquired": false, "retry_after_ms": 0}`: 1, `{"acquired": false, "retry_after_ms": 99999999}`: 3_600_000} {
		if got := locked(t, config+`, "wait": true}`, reply).PortBefore(limit, call); got.Verdict != "retry_after" || got.RetryMilliseconds != want {
			t.Errorf("%s: %+v, want %d", reply, got, want)
		}
	}
}

func TestFailsClosed(t *testing.T) {
	for _, config := range []string{`{}`, `{"calls": 0}`, `{"calls": 2, "burst": 3}`, `{"calls": 1, "per_ms": 0}`, `{"calls": 2000000000}`, `{"calls": 1, "each": "planet"}`, `{"calls": 1000, "per_ms": 1000, "burst": 9}`} {
		if got := locked(t, config, `{"acquired": true}`).PortBefore(limit, call); got.Verdict != "error" || len(got.Calls) != 0 {
			t.Errorf("%s: %+v", config, got)
		}
	}
	host := locked(t, `{"calls": 1}`, "")
	host.OnCall("lock.acquire", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Unavailable, Code: "port.unavailable"}
	})
	if got := host.PortBefore(limit, call); got.Verdict != "error" || got.Code() != "port.unavailable" {
		t.Errorf("%+v", got)
	}
	if got := locked(t, `{"calls": 1}`, `{"acquired": true}`).PortBefore(limit, `{"op": "lock.acquire", "args": {}}`); got.Verdict != "error" || len(got.Calls) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestSeconds(t *testing.T) {
	for ms, want := range map[int64]string{10: "0.01", 1000: "1", 1234: "1.234", 60_000: "60", 1050: "1.05", 100: "0.1"} {
		if got := seconds(ms); got != want {
			t.Errorf("%d ms: %s, want %s", ms, got, want)
		}
	}
}
