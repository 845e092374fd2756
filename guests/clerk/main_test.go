package main

import (
	"testing"

	"github.com/hexdag/hexdag/guests/sdk/go/hexdagtest"
)

func TestDecide(t *testing.T) {
	host := hexdagtest.New(t)
	host.Config(`{"allow": ["a.b", "a.c"], "approve": ["a.c"], "secret": "hunter2"}`)
	for action, effect := range map[string]string{"a.b": "allow", "a.c": "approve", "a.d": ""} {
		got := host.Govern(decide, `{"subject": {"id": "ada"}, "action": {"name": "`+action+`"}}`)
		if got.Verdict != "continue" || got.Output != "" && got.Result("/effect") != effect || got.Output == "" && effect != "" {
			t.Errorf("%s: %+v", action, got)
		}
	}
	for detail, verdict := range map[string]string{"plain": "continue", "it is hunter2": "deny"} {
		if got := host.Govern(inspect, `{"record": {"detail": "`+detail+`"}}`); got.Verdict != verdict {
			t.Errorf("%s: %+v", detail, got)
		}
	}
	if got := host.Govern(list, `{"subject": {"id": "ada"}}`); got.Result("/permissions/1/action") != "a.b" || got.Result("/permissions/0/effect") != "approve" {
		t.Errorf("%+v", got)
	}
}
