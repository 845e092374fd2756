package main

import (
	"strconv"
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const now = 1_700_000_000_000_000_000

// does calls an operation with further arguments, and returns its result.
func does(t *testing.T, host *hexdagtest.Host, op, args string) string {
	t.Helper()
	got := host.PortCall(serve, `{"op": "memory.`+op+`", "args": {"tenant": "acme", "now": `+strconv.Itoa(now)+`, "room": {"keys": 3, "bytes": 60}, `+args+`}}`)
	if got.Verdict != "continue" {
		t.Fatalf("%s %s: %+v", op, args, got)
	}
	return got.Output
}

func TestKeeps(t *testing.T) {
	host, below := hexdagtest.New(t), hexdagtest.Memory{}
	host.OnMemory(below)
	for _, step := range []struct{ op, args, want string }{
		{"get", `"key": "a"`, `{"found":false}`},
		{"set", `"key": "b", "value": "1.50"`, ``},
		{"set", `"key": "a", "value": "\"x\\ty\\n\""`, ``},
		{"get", `"key": "a"`, `{"found":true,"value":"\"x\\ty\\n\""}`},
		{"list_keys", `"prefix": "", "after": "", "limit": 9`, `{"keys":["a","b"]}`},
		{"list_keys", `"prefix": "", "after": "a", "limit": 9`, `{"keys":["b"]}`},
		{"list_keys", `"prefix": "", "after": "", "limit": 1`, `{"keys":["a"]}`},
		{"compare_and_swap", `"key": "b", "expected": "1.5", "value": "2"`, `{"swapped":false}`},
		{"compare_and_swap", `"key": "b", "expected": "1.50", "value": "2"`, `{"swapped":true}`},
		{"compare_and_swap", `"key": "b", "value": "3"`, `{"swapped":false}`},
		{"compare_and_swap", `"key": "c", "value": "3"`, `{"swapped":true}`},
		{"set", `"key": "d", "value": "4"`, `{"full":true}`},
		{"compare_and_swap", `"key": "d", "value": "4"`, `{"full":true,"swapped":true}`},
		{"set", `"key": "c", "value": "` + strings.Repeat("9", 60) + `"`, `{"full":true}`},
		{"get", `"key": "c"`, `{"found":true,"value":"3"}`},
		{"delete", `"key": "c"`, `{"deleted":true}`},
		{"delete", `"key": "c"`, `{"deleted":false}`},
		{"set", `"key": "e", "value": "5", "expires": ` + strconv.Itoa(now+1), ``},
		{"get", `"key": "e"`, `{"found":true,"value":"5"}`},
		{"get", `"key": "e", "now": ` + strconv.Itoa(now+1), `{"found":false}`},
	} {
		if got := does(t, host, step.op, step.args); got != step.want {
			t.Errorf("%s %s: %s, want %s", step.op, step.args, got, step.want)
		}
	}
	if len(below) != 1 || below["cabinet/61636d65"] == "" {
		t.Errorf("below is %v", below)
	}
	// Another tenant has a drawer of its own, whatever its name.
	if got := host.PortCall(serve, `{"op": "memory.get", "args": {"tenant": "\u0000ff", "key": "a", "now": 1}}`); got.Output != `{"found":false}` {
		t.Errorf("%+v", got)
	}
}

// TestTriesAgain: a change that another came before is made on what that one left.
func TestTriesAgain(t *testing.T) {
	host, below := hexdagtest.New(t), hexdagtest.Memory{}
	host.OnMemory(below)
	swaps := 0
	host.OnCall("memory.compare_and_swap", func(r hexdagtest.Request) hexdagtest.Reply {
		if swaps++; swaps <= 3 {
			below[r.At("/key")] = `"other\t0\t` + strconv.Itoa(swaps) + `\n"`
			return hexdagtest.Reply{Value: `{"swapped": false}`}
		}
		below[r.At("/key")] = `"` + strings.NewReplacer("\t", `\t`, "\n", `\n`).Replace(r.At("/value")) + `"`
		return hexdagtest.Reply{Value: `{"swapped": true}`}
	})
	does(t, host, "set", `"key": "mine", "value": "1"`)
	if got := below["cabinet/61636d65"]; swaps != 4 || got != `"mine\t0\t1\nother\t0\t3\n"` {
		t.Errorf("after %d: %s", swaps, got)
	}
	swaps = -1000
	if got := host.PortCall(serve, `{"op": "memory.delete", "args": {"tenant": "acme", "key": "other", "now": 1}}`); got.Verdict != "error" || got.Code() != "retry" {
		t.Errorf("%+v", got)
	}
}

func TestFails(t *testing.T) {
	host, below := hexdagtest.New(t), hexdagtest.Memory{"cabinet/61636d65": `"no tab\n"`}
	host.OnMemory(below)
	get := `{"op": "memory.get", "args": {"tenant": "acme", "key": "a", "now": 1}}`
	for _, broken := range []string{`"no tab\n"`, `"a\tsoon\t1\n"`, `{"a": 1}`, `7`} {
		below["cabinet/61636d65"] = broken
		if got := host.PortCall(serve, get); got.Verdict != "error" || !strings.Contains(got.Reason(), "no drawer of a cabinet") {
			t.Errorf("%s: %+v", broken, got)
		}
	}
	host.OnCall("memory.get", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Unavailable, Code: "port.unavailable", Message: "down"}
	})
	if got := host.PortCall(serve, get); got.Verdict != "error" || got.Code() != "port.unavailable" {
		t.Errorf("%+v", got)
	}
	if got := host.PortCall(serve, `{"op": "memory.count", "args": {}}`); got.Verdict != "error" || got.Code() != "unsupported" {
		t.Errorf("%+v", got)
	}
}
