package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

// The handlers as init registers them.
func before(c *hexdag.PortCall) hexdag.Verdict {
	return skip(portEntry(c), c.Payload().BodySize(), c.Result())
}
func after(c *hexdag.PortCall) hexdag.Verdict {
	return keep(portEntry(c), c.Payload().BodySize(), c.Reply())
}
func nodeBefore(c *hexdag.NodeCall) hexdag.Verdict { return skip(nodeEntry(c), 0, c.Result()) }
func nodeAfter(c *hexdag.NodeCall) hexdag.Verdict  { return keep(nodeEntry(c), 0, c.Output()) }

func withMemory(t *testing.T) (*hexdagtest.Host, hexdagtest.Memory) {
	host, m := hexdagtest.New(t), hexdagtest.Memory{}
	host.OnMemory(m)
	return host, m
}

const asked = `{"op": "llm.complete", "args": {"b": 1, "a": [1.50, null]}`

func TestKeepsAndAnswers(t *testing.T) {
	host, m := withMemory(t)
	if got := host.PortBefore(before, asked+"}"); got.Verdict != "continue" {
		t.Fatalf("%+v", got)
	}
	host.PortAfter(after, asked+`, "reply": {"content": "hi", "n": 9007199254740993}}`)
	if len(m) != 1 {
		t.Fatalf("kept %v", m)
	}
	for payload, verdict := range map[string]string{
		asked + "}": "skip",
		`{"op": "llm.complete", "args": {"a": [1.50, null], "b": 1}}`:   "skip", // the order of members says nothing
		`{"op": "llm.complete", "args": {"a": [1.5, null], "b": 1}}`:    "continue",
		`{"op": "llm.complete", "args": {"a": [1.50, null], "b": "1"}}`: "continue",
		`{"op": "llm.other", "args": {"a": [1.50, null], "b": 1}}`:      "continue",
	} {
		got := host.PortBefore(before, payload)
		if got.Verdict != verdict || verdict == "skip" && got.Output != `{"content":"hi","n":9007199254740993}` {
			t.Errorf("%s: %+v", payload, got)
		}
	}
}

// TestHashIsNotTrusted: an entry of other arguments under the same key is no answer.
func TestHashIsNotTrusted(t *testing.T) {
	host, m := withMemory(t)
	host.PortAfter(after, asked+`, "reply": {"content": "hi"}}`)
	for key := range m {
		m[key] = strings.Replace(m[key], `"b":1`, `"b":2`, 1)
	}
	if got := host.PortBefore(before, asked+"}"); got.Verdict != "continue" {
		t.Errorf("%+v", got)
	}
	for key := range m {
		for _, broken := range []string{`"text"`, `{}`, `{"args":{"a":[1.50,null],"b":1}}`, `null`} {
			m[key] = broken
			if got := host.PortBefore(before, asked+"}"); got.Verdict != "continue" {
				t.Errorf("%s: %+v", broken, got)
			}
		}
	}
}

func TestNodesHaveKeysOfTheirOwn(t *testing.T) {
	host, m := withMemory(t)
	host.NodeAfter(nodeAfter, `{"node": {"name": "n"}, "input": {"q": 1}, "output": "text"}`)
	if got := host.NodeBefore(nodeBefore, `{"node": {"name": "n"}, "input": {"q": 1}}`); got.Verdict != "skip" || got.Output != `"text"` {
		t.Errorf("%+v", got)
	}
	if got := host.NodeBefore(nodeBefore, `{"node": {"name": "o"}, "input": {"q": 1}}`); got.Verdict != "continue" {
		t.Errorf("%+v", got)
	}
	for key := range m {
		if !strings.HasPrefix(key, "cache/node/n/") {
			t.Errorf("kept under %s", key)
		}
	}
}

func TestKeepsNothing(t *testing.T) {
	for name, payload := range map[string]string{
		"of a failure":       asked + `, "error": {"code": "failed", "message": "m"}}`,
		"large":              asked + `, "reply": "` + strings.Repeat("x", 101) + `"}`,
		"of large arguments": `{"op": "a.b", "args": {"x": "` + strings.Repeat("x", 101) + `"}, "reply": 1}`,
	} {
		host, m := withMemory(t)
		host.Config(`{"max_bytes": 100}`)
		if got := host.PortAfter(after, payload); got.Verdict != "continue" || len(m) != 0 {
			t.Errorf("%s: %+v, kept %v", name, got, m)
		}
	}
	host, m := withMemory(t)
	host.Body([]byte("raw"))
	if host.PortAfter(after, asked+`, "reply": 1}`); len(m) != 0 {
		t.Errorf("kept %v", m)
	}
}

// TestNoCacheIsNone: a memory that fails costs the answer, and no call.
func TestNoCacheIsNone(t *testing.T) {
	host := hexdagtest.New(t)
	for _, got := range []hexdagtest.Result{host.PortBefore(before, asked+"}"), host.PortAfter(after, asked+`, "reply": 1}`)} {
		if got.Verdict != "continue" || len(got.Log) != 1 || !strings.Contains(got.Log[0], "denied") {
			t.Errorf("%+v", got)
		}
	}
	if got := host.PortBefore(before, `{"op": "memory.get", "args": {}}`); got.Verdict != "error" {
		t.Errorf("%+v", got)
	}
	host.Config(`{"ttl_s": 0}`)
	if got := host.PortBefore(before, asked+"}"); got.Verdict != "error" || !strings.Contains(got.Reason(), "positive integers") {
		t.Errorf("%+v", got)
	}
}
