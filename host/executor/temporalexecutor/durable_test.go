package temporalexecutor_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testserver"
)

// ledger is a port that cannot tell a repetition: adding twice adds twice.
func ledger(dir string) []host.PortOp {
	return []host.PortOp{{Name: "ledger.add", Func: func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		item, _ := call.Args["item"].(string)
		note(dir, "ledger", item)
		return &kernel.PortReply{Value: true}, nil
	}}}
}

// adds adds to the ledger, and is then like effect.
func adds(ctx context.Context, dir string, call *kernel.NodeCall) (kernel.Value, error) {
	run := kernel.RunFrom(ctx)
	if _, err := run.Call(ctx, "ledger.add", map[string]any{"item": run.RunID + "." + call.Name}); err != nil {
		return nil, err
	}
	return effect(ctx, dir, call)
}

// TestJournalOfAKilledWorker: what a node had done when its worker was killed, the next worker does not do again, though no port
// could tell.
func TestJournalOfAKilledWorker(t *testing.T) {
	_, url := testserver.Postgres(t)
	c := newCluster(t, 2, "  journal: {adapter: postgres, config: {url: '"+url+"'}}\n")
	p := c.load("adds", `
nodes:
  - {kind: function_node, metadata: {name: b}, spec: {fn: test.adds, input_mapping: {gate: "'b'"}}}
  - {kind: function_node, metadata: {name: c}, dependencies: [b], spec: {fn: test.adds, input_mapping: {x: "1"}}}`)
	ended := make(chan *host.Result, 1)
	go func() { ended <- p.Run(t.Context(), map[string]any{}, host.RunOptions{Durable: true}) }()
	c.killPid(c.begun("b", 1))
	c.begun("b", 2)
	c.open("b")
	r := <-ended
	if r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	text, err := os.ReadFile(filepath.Join(c.dir, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.TrimSpace(string(text)), r.RunID+".b\n"+r.RunID+".c"; got != want {
		t.Errorf("added\n%s\nnot\n%s", got, want)
	}
}
