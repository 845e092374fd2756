package temporalexecutor_test

import (
	"context"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// effects are nodes a, b and c, one after another, and d beside b; b waits for gate b.
const effects = `
nodes:
  - {kind: function_node, metadata: {name: a}, spec: {fn: test.effect}}
  - {kind: function_node, metadata: {name: b}, dependencies: [a], spec: {fn: test.effect, input_mapping: {gate: "'b'"}}}
  - {kind: function_node, metadata: {name: d}, dependencies: [a], spec: {fn: test.effect, input_mapping: {x: "1"}}}
  - {kind: function_node, metadata: {name: c}, dependencies: [b, d], spec: {fn: test.effect, input_mapping: {x: "1"}}}
output: {c: c.pid}
`

// run runs a pipeline so many times at once.
func (c *cluster) run(p *host.Pipeline, times int) (wait func() []*host.Result) {
	results := make([]*host.Result, times)
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() { results[i] = p.Run(c.t.Context(), map[string]any{}, host.RunOptions{}) })
	}
	return func() []*host.Result {
		c.t.Helper()
		wg.Wait()
		for _, r := range results {
			if r.Status != engine.Completed {
				c.t.Fatalf("run %s %s: %v", r.RunID, r.Status, r.Err)
			}
		}
		return results
	}
}

// TestKilledWorker kills the worker of a node with kill -9: another does the node, and its effect is had once.
func TestKilledWorker(t *testing.T) {
	c := newCluster(t, 3, "")
	wait := c.run(c.load("effects", effects), 1)
	first := c.begun("b", 1)
	c.killPid(first)
	if second := c.begun("b", 2); second == first {
		t.Errorf("process %d, which is dead, did it again", first)
	}
	c.open("b")
	c.effects(wait(), "a", "b", "c", "d")
}

// TestRestartedServer kills the server with kill -9 while runs are under way, and starts it again.
func TestRestartedServer(t *testing.T) {
	c := newCluster(t, 3, "")
	wait := c.run(c.load("effects", effects), 10)
	c.begun("b", 10)
	c.server.Kill()
	c.open("b")
	c.server.Restart()
	c.effects(wait(), "a", "b", "c", "d")
}

// TestRolledVersion changes a pipeline while runs of it are under way: they end on the version that they began with,
// and later ones are of the new, on the same workers.
func TestRolledVersion(t *testing.T) {
	c := newCluster(t, 3, "")
	version := func(name string) *host.Pipeline {
		return c.load("rolled", strings.ReplaceAll(effects, "output: {c: c.pid}", "  - {kind: expression_node, metadata: {name: "+name+"}, dependencies: [c], spec: {expressions: {v: \"'"+name+"'\"}}}\noutput: {v: "+name+".v}"))
	}
	old := c.run(version("first"), 8)
	c.begun("b", 8)
	recent := c.run(version("second"), 8)
	c.begun("b", 16)
	c.kill(0) // and a worker is lost over it
	c.start()
	c.open("b")
	runs := old()
	for i, r := range append(runs, recent()...) {
		want := "first"
		if i >= len(runs) {
			want = "second"
		}
		if r.Output["v"] != want {
			t.Errorf("run %d is of version %v, want %s", i, r.Output["v"], want)
		}
	}
	c.effects(append(runs, recent()...), "a", "b", "c", "d")
}

// TestDrainedWorker ends a worker with SIGTERM: what it does not end in its time, another does.
func TestDrainedWorker(t *testing.T) {
	c := newCluster(t, 1, "")
	wait := c.run(c.load("effects", effects), 1)
	c.begun("b", 1)
	old := c.workers[0]
	c.start()
	if err := old.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := old.Wait(); err != nil {
		t.Errorf("the worker did not end well: %v", err)
	}
	c.workers[0] = nil
	c.begun("b", 2)
	c.open("b")
	c.effects(wait(), "a", "b", "c", "d")
}

// TestNodeThatKills has a node end every worker that begins it: its run fails, and says why.
func TestNodeThatKills(t *testing.T) {
	c := newClusterOn(t, testserver.Temporal(t), 2, "", ", attempts: 2")
	p := c.load("crash", `
nodes:
  - {kind: function_node, metadata: {name: crash}, spec: {fn: test.crash}}`)
	done := make(chan *host.Result, 1)
	go func() { done <- p.Run(context.Background(), map[string]any{}, host.RunOptions{}) }()
	for _, w := range c.workers {
		_ = w.Wait() // it ends badly
	}
	c.workers = nil
	c.start()
	r := <-done
	wantError(t, r.Err, kernel.CodeUnavailable, "no worker has brought node crash to an end", "it was tried 2 times", "see what ends the workers")
}
