package endpoint

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/ports/llm/driver"
)

// Whatever tools are called, an endpoint gets names that all take, each another, and they lead back.
func TestNames(t *testing.T) {
	long := strings.Repeat("long.", 30)
	given := []string{"plain", "box.weather", "box_weather", "box weather", "日本", "日木", "", "3d", "-x", long + "a", long + "b", strings.Repeat("x", 64)}
	req := &driver.Request{}
	for _, name := range given[:6] {
		req.Tools = append(req.Tools, driver.ToolSpec{Name: name})
	}
	for _, name := range given[6:] {
		req.Messages = append(req.Messages, driver.Message{ToolCalls: []driver.ToolCall{{Name: name}}})
	}
	names := NamesOf(req)
	seen := map[string]bool{}
	for _, name := range given {
		out := names.Out(name)
		if out == "" || len(out) > maxName || seen[out] || strings.Trim(out, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" || strings.ContainsRune("0123456789-", rune(out[0])) || names.In(out) != name {
			t.Errorf("%q is told as %q, which leads to %q", name, out, names.In(out))
		}
		seen[out] = true
	}
	if names.Out("plain") != "plain" || names.In("made up") != "made up" {
		t.Errorf("%q, %q", names.Out("plain"), names.In("made up"))
	}
}

// An id that another model has given becomes one that the endpoint takes, always the same.
func TestCallID(t *testing.T) {
	for _, id := range []string{"toolu_01A-b", strings.Repeat("x", 64)} {
		if got := CallID(id, 64); got != id {
			t.Errorf("%q is told as %q", id, got)
		}
	}
	seen := map[string]bool{}
	for _, id := range []string{"functions.look:0", "functions.look:1", "日本", "日木", "", strings.Repeat("x", 65), strings.Repeat("x", 66)} {
		got := CallID(id, 64)
		if got != CallID(id, 64) || seen[got] || len(got) > 40 || strings.Trim(got, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
			t.Errorf("%q is told as %q", id, got)
		}
		seen[got] = true
	}
}
