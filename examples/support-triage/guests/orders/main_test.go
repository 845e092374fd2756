package main

import (
	"strings"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

const row = `{"id":"A-1","total":84.90,"currency":"EUR","status":"delivered","days_since_delivery":12,"prior_refunds":0,"customer_risk":"low","note":"x"}`

// answering returns a host whose database gives this reply.
func answering(t *testing.T, reply hexdagtest.Reply) *hexdagtest.Host {
	host := hexdagtest.New(t)
	host.OnCall("database.query", func(hexdagtest.Request) hexdagtest.Reply { return reply })
	return host
}

func TestLookupOrder(t *testing.T) {
	host := answering(t, hexdagtest.Reply{Value: `{"rows":[` + row + `]}`})
	got := host.ToolCall(lookupOrder, `{"tool":"lookup_order","args":{"order_id":"A-1"}}`)
	want := `{"currency":"EUR","customer_risk":"low","days_since_delivery":12,"found":true,"order_id":"A-1","prior_refunds":0,"status":"delivered","total":84.90}`
	if got.Verdict != "continue" || got.Output != want {
		t.Errorf("got %+v", got)
	}
	if got.Calls[0].Args != `{"limit":1,"table":"orders","where":{"id":"A-1"}}` {
		t.Errorf("asked %s", got.Calls[0].Args)
	}
}

func TestLookupOrderThatIsNotDelivered(t *testing.T) {
	host := answering(t, hexdagtest.Reply{Value: `{"rows":[` + strings.Replace(row, "12", "null", 1) + `]}`})
	got := host.ToolCall(lookupOrder, `{"tool":"lookup_order","args":{"order_id":"A-1"}}`)
	if got.Result("/days_since_delivery") != "null" {
		t.Errorf("got %+v", got)
	}
}

func TestLookupOrderThatIsNotThere(t *testing.T) {
	host := answering(t, hexdagtest.Reply{Value: `{"rows":[]}`})
	got := host.ToolCall(lookupOrder, `{"tool":"lookup_order","args":{"order_id":"A-2"}}`)
	if got.Verdict != "continue" || got.Output != `{"found":false,"order_id":"A-2"}` {
		t.Errorf("got %+v", got)
	}
}

// A ticket that names no order asks the database nothing.
func TestLookupOrderThatIsNotNamed(t *testing.T) {
	host := hexdagtest.New(t)
	host.OnCall("database.query", func(hexdagtest.Request) hexdagtest.Reply {
		t.Error("the database was asked")
		return hexdagtest.Reply{}
	})
	got := host.ToolCall(lookupOrder, `{"tool":"lookup_order","args":{"order_id":""}}`)
	if got.Verdict != "continue" || got.Output != `{"found":false,"order_id":""}` {
		t.Errorf("got %+v", got)
	}
}

func TestLookupOrderRefuses(t *testing.T) {
	rows := hexdagtest.Reply{Value: `{"rows":[` + row + `]}`}
	for _, tc := range []struct {
		name, payload string
		reply         hexdagtest.Reply
		code          string
	}{
		{"no number", `{"tool":"lookup_order","args":{}}`, rows, "bad_arguments"},
		{"a number", `{"tool":"lookup_order","args":{"order_id":1}}`, rows, "bad_arguments"},
		{"a long number", `{"tool":"lookup_order","args":{"order_id":"` + strings.Repeat("A", 65) + `"}}`, rows, "bad_arguments"},
		{"another tool", `{"tool":"drop_orders","args":{"order_id":"A-1"}}`, rows, "unknown_tool"},
		{"no right", `{"tool":"lookup_order","args":{"order_id":"A-1"}}`, hexdagtest.Reply{Status: hexdag.Denied, Code: "denied", Message: "no"}, "denied"},
		{"a column less", `{"tool":"lookup_order","args":{"order_id":"A-1"}}`, hexdagtest.Reply{Value: `{"rows":[{"id":"A-1"}]}`}, "bad_table"},
	} {
		got := answering(t, tc.reply).ToolCall(lookupOrder, tc.payload)
		if got.Verdict != "error" || got.Code() != tc.code {
			t.Errorf("%s: got %+v", tc.name, got)
		}
	}
	busy := hexdagtest.Reply{Status: hexdag.Retry, RetryMilliseconds: 10}
	got := answering(t, busy).ToolCall(lookupOrder, `{"tool":"lookup_order","args":{"order_id":"A-1"}}`)
	if got.Verdict != "retry_after" || got.RetryMilliseconds != 10 {
		t.Errorf("busy: got %+v", got)
	}
}
