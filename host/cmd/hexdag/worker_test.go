package main

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testserver"
)

const distributed = `kind: Config
spec:
  executor: {adapter: temporal, config: {address: "ADDRESS", task_queue: commands, heartbeat: 2}}
`

const waitingPipeline = `kind: Pipeline
metadata: {name: waiting}
spec:
  output: {text: said.text}
  nodes:
    - {kind: expression_node, metadata: {name: first}, dependencies: [], spec: {expressions: {n: "len(name)"}}}
    - {kind: wait_node, metadata: {name: word}, dependencies: [first], spec: {event_key: "word:{{ $input.name }}"}}
    - {kind: expression_node, metadata: {name: said}, dependencies: [word], spec: {expressions: {text: "word.w + str(first.n)"}}}
`

// TestWorker runs a pipeline that waits with a worker, which is this command, too.
func TestWorker(t *testing.T) {
	server := testserver.Temporal(t)
	path := folder(t, map[string]string{"waiting.yaml": waitingPipeline, "hexdag.yaml": strings.Replace(distributed, "ADDRESS", server.Address(), 1)})

	ctx, stop := context.WithCancel(t.Context())
	var out output
	var working sync.WaitGroup
	code := -1
	working.Go(func() {
		code = execute(ctx, []string{"worker", "--config", path("hexdag.yaml")}, strings.NewReader(""), &out, &out)
	})
	t.Cleanup(func() { stop(); working.Wait() })

	started := cli(t, "", "run", path("waiting.yaml"), "--input", `{"name": "ann"}`)
	started.wants(t, exitDone, "suspended", "waits for word:ann", "hexdag resume", "first", "done")
	cli(t, "", "resume", "nobody", "--config", path("hexdag.yaml"), "--data", "1").wants(t, exitFailed, "no run nobody waits")
	deadline := time.Now().Add(time.Minute) // the list of runs follows the runs
	for !strings.Contains(cli(t, "", "resume", "--list", "--config", path("hexdag.yaml")).out, "waits for word:ann") {
		if time.Now().After(deadline) {
			t.Fatal("the run is not listed")
		}
		time.Sleep(50 * time.Millisecond)
	}
	cli(t, "", "resume", "--event", "word:ann", "--data", `{"w": "yes"}`, "--config", path("hexdag.yaml")).wants(t, exitDone, `"text": "yes3"`, "completed")

	stop()
	working.Wait()
	if code != exitDone || !strings.Contains(out.buf.String(), "workers/1") {
		t.Errorf("the worker ended with %d: %s", code, out.buf.String())
	}
	cli(t, "", "worker", "--config", folder(t, map[string]string{"hexdag.yaml": "kind: Config\nspec: {principal: x}\n"})("hexdag.yaml")).wants(t, exitBadInput, "there is nothing to work for", "executor: {adapter: temporal")
}
