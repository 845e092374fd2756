package hexdag_test

import (
	"errors"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

func TestCall(t *testing.T) {
	host := hexdagtest.New(t)
	host.OnCall("artifacts.store", func(r hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Value: `{"key":"` + r.At("/key") + `!"}`, Body: []byte("raw")}
	})
	got := host.ToolCall(func(c *hexdag.ToolCall) hexdag.Verdict {
		reply, err := hexdag.NewCall("artifacts.store").
			String("/key", "k").
			Int("/meta/n", 1).
			Bool("/meta/yes", true).
			JSON("/meta/list", `[1]`).
			Value("/meta/who", hexdag.Value{Kind: hexdag.KindString, Text: c.Tool()}).
			Body([]byte("bytes")).
			Do()
		if err != nil {
			return hexdag.FailWith(err)
		}
		c.Result().SetString("/key", reply.String("/key"))
		raw, _ := reply.Body()
		c.Result().SetString("/raw", string(raw))
		if _, err := hexdag.NewCall("artifacts.store").Do(); err != nil {
			t.Error(err)
		}
		return hexdag.Continue()
	}, `{"tool":"save"}`)
	if got.Output != `{"key":"k!","raw":"raw"}` {
		t.Errorf("got %+v", got)
	}
	first := got.Calls[0]
	if first.Args != `{"key":"k","meta":{"list":[1],"n":1,"who":"save","yes":true}}` || string(first.Body) != "bytes" {
		t.Errorf("request %+v", first)
	}
	if second := got.Calls[1]; second.Args != `{}` || len(second.Body) != 0 {
		t.Errorf("the first request was left for the second call: %+v", second)
	}
}

func TestCallErrors(t *testing.T) {
	host := hexdagtest.New(t)
	host.OnCall("lock.acquire", func(hexdagtest.Request) hexdagtest.Reply {
		return hexdagtest.Reply{Status: hexdag.Retry, Code: "retry", Message: "held", RetryMilliseconds: 250}
	})
	for _, tc := range []struct {
		op, path, value string
		status          hexdag.Status
		verdict, code   string
	}{
		{"llm.complete", "/a", "1", hexdag.Denied, "error", "denied"},
		{"lock.acquire", "/a", "1", hexdag.Retry, "retry_after", ""},
		{"lock.acquire", "/a", "no JSON", hexdag.Invalid, "error", "failed"},
		{"lock.acquire", "", "[]", hexdag.Invalid, "error", "port.arguments"},
	} {
		got := host.ToolCall(func(c *hexdag.ToolCall) hexdag.Verdict {
			_, err := hexdag.NewCall(tc.op).JSON(tc.path, tc.value).Do()
			if !errors.Is(err, tc.status) {
				t.Errorf("%s %s: %v, want %v", tc.op, tc.value, err, tc.status)
			}
			return hexdag.FailWith(err)
		}, `{}`)
		if got.Verdict != tc.verdict || got.Code() != tc.code {
			t.Errorf("%s %s: got %+v", tc.op, tc.value, got)
		}
		if tc.verdict == "retry_after" && got.RetryMilliseconds != 250 {
			t.Errorf("retry after %d", got.RetryMilliseconds)
		}
	}
}

func TestFailedArgumentLeavesNothingBehind(t *testing.T) {
	host := hexdagtest.New(t)
	host.OnCall("a.b", func(r hexdagtest.Request) hexdagtest.Reply { return hexdagtest.Reply{Value: r.Args} })
	got := host.ToolCall(func(*hexdag.ToolCall) hexdag.Verdict {
		if _, err := hexdag.NewCall("a.b").String("/x", "secret").String("/x/y", "").Do(); err == nil {
			t.Error("a member of a string was accepted")
		}
		if _, err := hexdag.NewCall("a.b").Int("/z", 1).Do(); err != nil {
			t.Error(err)
		}
		return hexdag.Continue()
	}, `{}`)
	if len(got.Calls) != 1 || got.Calls[0].Args != `{"z":1}` {
		t.Errorf("calls %+v", got.Calls)
	}
}

func TestTooManyCalls(t *testing.T) {
	host := hexdagtest.New(t)
	host.OnCall("a.b", func(hexdagtest.Request) hexdagtest.Reply { return hexdagtest.Reply{Value: `{}`} })
	host.ToolCall(func(*hexdag.ToolCall) hexdag.Verdict {
		for range 1000 {
			if _, err := hexdag.NewCall("a.b").Do(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := hexdag.NewCall("a.b").Do(); !errors.Is(err, hexdag.Limit) {
			t.Errorf("call 1001: %v", err)
		}
		return hexdag.Continue()
	}, `{}`)
}
