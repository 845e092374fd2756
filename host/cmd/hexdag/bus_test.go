package main

import (
	"strings"
	"testing"
)

// What one command publishes another has, with nothing but a folder between them.
func TestBus(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml": `kind: Config
spec:
  ports: {eventbus: {adapter: nats, config: {sync_always: false}}}
  triggers: [{name: echo, on: orders.*, pipeline: echo.yaml, start: beginning}]
`,
		"echo.yaml": `kind: Pipeline
metadata: {name: echo}
spec: {nodes: [{kind: expression_node, metadata: {name: out}, spec: {expressions: {n: "$input.n"}}}]}
`,
	})
	config := "--config=" + at("hexdag.yaml")
	bus := func(code int, args ...string) string {
		t.Helper()
		r := cli(t, "", append(append([]string{"bus"}, args...), config)...)
		r.wants(t, code)
		return r.out + r.err
	}
	if out := bus(exitDone, "pub", "orders.paid", "--data", `{"n": 1}`, "--key", "k", "--id", "i", "--label", "a=b"); out != `{"duplicate":false,"id":"i","sequence":1}`+"\n" {
		t.Error(out)
	}
	if out := bus(exitDone, "pub", "orders.paid", "--id", "i"); !strings.Contains(out, `"duplicate":true`) {
		t.Error(out)
	}
	bus(exitDone, "pub", "other", "--data", "2")
	if out := bus(exitDone, "topics"); out != "orders.paid  1\nother        1\n" {
		t.Error(out)
	}
	for _, args := range [][]string{{"replay", "orders.>"}, {"sub", "orders.>", "--from", "beginning", "--count", "1"}, {"sub", "orders.>", "--from", "1", "--group", "g", "--idle", "500ms"}} {
		if out := bus(exitDone, args...); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"data":{"n":1}`) || !strings.Contains(out, `"specversion":"1.0"`) {
			t.Error(args, out)
		}
	}
	if out := bus(exitDone, "sub", "orders.>", "--group", "g", "--idle", "500ms"); out != "" {
		t.Error("a group was delivered again: ", out)
	}
	bus(exitFailed, "pub", "a..b")
	bus(exitBadInput, "sub", "a", "--from", "soon")

	cli(t, "", "listen", config, "--until-idle", "1s").wants(t, exitDone, "orders.paid: trigger echo: run ", " completed")
	if r := cli(t, "", "listen", config, "--until-idle", "300ms", "--json"); r.code != exitDone || r.out != "" {
		t.Error("it was dealt with twice: ", r)
	}
}

// On a bus in memory, a run deals with what it triggers itself, and nobody listens.
func TestRunTriggers(t *testing.T) {
	const pipeline = "kind: Pipeline\nmetadata: {name: NAME}\nspec: {nodes: [{kind: data_node, metadata: {name: x}, spec: {output: {v: 1}}}]}\n"
	at := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec:\n  triggers: [{name: after, on: hexdag.pipeline.a.completed, pipeline: b.yaml}]\n",
		"empty.yaml":  "kind: Config\nspec: {}\n",
		"a.yaml":      strings.Replace(pipeline, "NAME", "a", 1),
		"b.yaml":      strings.Replace(pipeline, "NAME", "b", 1),
	})
	cli(t, "", "run", at("a.yaml")).wants(t, exitDone, "hexdag.pipeline.a.completed: trigger after: run ")
	cli(t, "", "listen", "--config", at("hexdag.yaml")).refuses(t, exitBadInput, "nobody could publish")
	cli(t, "", "bus", "topics", "--config", at("hexdag.yaml")).refuses(t, exitBadInput, "adapter: nats")
	cli(t, "", "listen", "--config", at("empty.yaml")).refuses(t, exitBadInput, "nothing to listen for")
}
