package ports

import "testing"

func TestEffects(t *testing.T) {
	for _, c := range []struct {
		op   string
		args map[string]any
		want effect
	}{
		{"memory.get", nil, asks}, {"memory.set", nil, changes}, {"llm.complete", nil, asks}, {"eventbus.publish", nil, changes},
		{"http.request", nil, asks}, {"http.request", map[string]any{"method": "get"}, asks}, {"http.request", map[string]any{"method": "POST"}, changes},
		{"http.request", map[string]any{"method": 1}, changes}, {"api_call.request", map[string]any{"method": "HEAD"}, asks}, {"api_call.post", nil, changes},
		{"artifacts.list", nil, private}, {"artifacts.create", nil, changes}, {"pipeline_memory.get", nil, private}, {"secret.use", nil, secret},
		{"mail.send", nil, changes}, {"", nil, changes},
	} {
		if got := effectOf(c.op, c.args); got != c.want {
			t.Errorf("%s %v: %v, want %v", c.op, c.args, got, c.want)
		}
	}
}
