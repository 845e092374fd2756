package hexdag_test

import (
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
	"github.com/hexdag/hexdag/guests/sdk/go/observe"
)

func TestObserve(t *testing.T) {
	handle := observe.Func(func(e *observe.Event) hexdag.Verdict {
		switch {
		case e.Topic() != "orders.paid" || e.ID() != "1":
			return hexdag.Deny("topic", e.Topic())
		case e.Attempt() < 2:
			return hexdag.RetryAfter(5)
		case e.Data().Int("/n", 0) != 7 || e.Envelope().String("/type") != "paid":
			return hexdag.Fail("data", "not what was sent")
		}
		return hexdag.Continue()
	})
	for payload, want := range map[string]string{
		`{"event": {"subject": "orders.paid", "id": "1", "type": "paid", "data": {"n": 7}}, "attempt": 2}`: "continue",
		`{"event": {"subject": "orders.paid", "id": "1", "type": "paid", "data": {"n": 7}}, "attempt": 1}`: "retry_after",
		`{"event": {"subject": "orders.paid", "id": "1", "type": "paid"}, "attempt": 3}`:                   "error",
		`{"event": {"subject": "orders.sent", "id": "1"}, "attempt": 1}`:                                   "deny",
	} {
		if got := hexdagtest.New(t).Observe(handle, payload); got.Verdict != want {
			t.Errorf("%s: %s, want %s", payload, got.Verdict, want)
		}
	}
}
