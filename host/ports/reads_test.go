package ports

import "testing"

func TestReads(t *testing.T) {
	for _, c := range []struct {
		op    string
		args  map[string]any
		reads bool
	}{
		{"memory.get", nil, true}, {"memory.set", nil, false}, {"llm.complete", nil, true}, {"eventbus.publish", nil, false},
		{"http.request", nil, true}, {"http.request", map[string]any{"method": "get"}, true}, {"http.request", map[string]any{"method": "POST"}, false},
		{"http.request", map[string]any{"method": 1}, false}, {"api_call.request", map[string]any{"method": "HEAD"}, true}, {"api_call.post", nil, false},
		{"mail.send", nil, false}, {"", nil, false},
	} {
		if reads(c.op, c.args) != c.reads {
			t.Errorf("%s %v: %v", c.op, c.args, !c.reads)
		}
	}
}
