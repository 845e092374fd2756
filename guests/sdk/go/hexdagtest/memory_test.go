package hexdagtest_test

import (
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

// TestMemory holds the memory to what the port's own operations answer.
func TestMemory(t *testing.T) {
	m := hexdagtest.Memory{"kept": `[1.50]`}
	host := hexdagtest.New(t)
	host.OnMemory(m)
	for _, step := range []struct {
		op, args, want string
	}{
		{"memory.get", `{"key":"kept"}`, `{"found":true,"value":[1.50]}`},
		{"memory.get", `{"key":"a"}`, `{"found":false,"value":null}`},
		{"memory.get", `{"key":"a","default":7}`, `{"found":false,"value":7}`},
		{"memory.exists", `{"key":"a"}`, `{"exists":false}`},
		{"memory.compare_and_swap", `{"key":"a","expected":null,"value":1}`, `{"swapped":false}`},
		{"memory.compare_and_swap", `{"key":"a","value":null}`, `{"swapped":true}`},
		{"memory.compare_and_swap", `{"key":"a","value":2}`, `{"swapped":false}`},
		{"memory.compare_and_swap", `{"key":"a","expected":null,"value":{"b":1}}`, `{"swapped":true}`},
		{"memory.get", `{"key":"a"}`, `{"found":true,"value":{"b":1}}`},
		{"memory.set", `{"key":"b/1","value":"x"}`, `{"key":"b/1","stored":true}`},
		{"memory.set", `{"key":"b/2","value":"y"}`, `{"key":"b/2","stored":true}`},
		{"memory.list_keys", `{"prefix":"b/"}`, `{"keys":["b/1","b/2"]}`},
		{"memory.list_keys", `{"prefix":"b/","after":"b/1"}`, `{"keys":["b/2"]}`},
		{"memory.delete", `{"key":"b/1"}`, `{"deleted":true}`},
		{"memory.delete", `{"key":"b/1"}`, `{"deleted":false}`},
		{"memory.exists", `{"key":"b/2"}`, `{"exists":true}`},
		{"memory.set", `{"key":"c"}`, `memory.set: value is missing`},
		{"memory.compare_and_swap", `{"key":"c"}`, `memory.compare_and_swap: value is missing`},
	} {
		got := host.ToolCall(func(c *hexdag.ToolCall) hexdag.Verdict {
			call := hexdag.NewCall(step.op)
			args := c.Args()
			names, _ := args.Keys("")
			for _, name := range names {
				v, _ := args.Get("/" + name)
				call.Value("/"+name, v)
			}
			reply, err := call.Do()
			if err != nil {
				return hexdag.FailWith(err)
			}
			c.Result().SetJSON("", reply.Raw(""))
			return hexdag.Continue()
		}, `{"args":`+step.args+`}`)
		if got.Output != step.want && got.Reason() != step.op+": invalid: "+step.want {
			t.Errorf("%s %s: %s, want %s", step.op, step.args, got.Output, step.want)
		}
	}
	if m["a"] != `{"b":1}` || len(m) != 3 {
		t.Errorf("kept %v", m)
	}
}
