package host_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// newAsking has a module, box, that asks the client of its run, as a node and as a tool.
func newAsking(t *testing.T) (*durable, *host.Host) {
	t.Helper()
	d := newDurable(t, `  modules:
    box: {path: box.wasm, grants: [metrics.count, client.ask, client.describe], config: {tools: {work: {calls: `+askingCalls+`}, node: {calls: `+askingCalls+`}}}}
  ports:
    llm: {adapter: mock, config: {responses: [{tool_calls: [{name: "box:work", arguments: {}}]}, {tool_calls: [{name: tool_end, arguments: {said: done}}]}]}}
`)
	wasm, err := os.ReadFile(toolbox(t))
	if err == nil {
		wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	}
	if err == nil {
		wasm, err = abi.EmbedManifest(wasm, &abi.Manifest{Name: "box", Version: "1.0.0", Capabilities: []abi.Capability{{Op: "metrics.count"}, {Op: "client.ask"}, {Op: "client.describe"}}, Tools: []abi.Tool{{Name: "work", InputSchema: []byte(`{"type":"object"}`)}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	d.write(t, "box.wasm", string(wasm))
	return d, d.host(t, "first", &ledger{}, d.journals)
}

const askingCalls = `[{op: client.describe}, {op: metrics.count, head: {name: before, delta: 1}},
  {op: client.ask, head: {requests: {user: {kind: elicit, message: Who?, schema: {type: object, properties: {name: {type: string}}, required: [name]}}}}},
  {op: metrics.count, head: {name: between, delta: 1}},
  {op: client.ask, head: {requests: {where: {kind: roots}, said: {kind: complete, messages: [{role: user, content: hi}], max_tokens: 20}}}}]`

// TestRecoverAsking: a run whose host died once its module had asked waits for the answer to what was asked.
func TestRecoverAsking(t *testing.T) {
	d, h := newAsking(t)
	client := kernel.NewClient("elicit", "roots", "complete")
	was := d.load(t, h, `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}`).Run(t.Context(), nil, host.RunOptions{Durable: true, Client: client})
	if was.Status != engine.Suspended {
		t.Fatalf("%+v %v", was, was.Err)
	}
	entries := d.entries(t, was.RunID)
	asked := slices.IndexFunc(entries, func(e *journal.Entry) bool { return e.Kind == journal.Reply && e.Op == "client.ask" })
	if asked < 0 {
		t.Fatal("the journal does not hold what was asked")
	}
	r, err := d.host(t, "second", &ledger{}, died(t, headOf(entries), entries[:asked+1])).RecoverRun(t.Context(), was.RunID, host.RunOptions{})
	if err != nil || r.Result == nil || r.Result.Status != engine.Suspended || len(r.Result.Waits) != 1 {
		t.Fatalf("%+v %v", r, err)
	}
	if now := r.Result.Waits[0]; now.EventKey != was.Waits[0].EventKey || jsonText(t, now.Asks) != jsonText(t, was.Waits[0].Asks) {
		t.Errorf("it waits for %+v, not %+v", now, was.Waits[0])
	}
}

// TestReplayAsking: a run whose module asked its client is done again without asking anybody, wherever it asked, and up to where it waits.
func TestReplayAsking(t *testing.T) {
	for name, node := range map[string]string{
		"a node":   `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box}}`,
		"a tool":   `{kind: function_node, metadata: {name: n}, dependencies: [], spec: {fn: box.work}}`,
		"an agent": `{kind: agent_node, metadata: {name: n}, dependencies: [], spec: {main_prompt: do it, available_tools: ["box:work"], output_schema: {said: str}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			d, h := newAsking(t)
			client := kernel.NewClient("elicit", "roots", "complete")
			was := d.load(t, h, node).Run(t.Context(), nil, host.RunOptions{Durable: true, Client: client})
			again := func(waits int) {
				t.Helper()
				r, err := d.replayer(t, host.ReplayOptions{}).Run(t.Context(), was.RunID)
				if err != nil {
					t.Fatal(err)
				}
				if !r.Same || r.Is != was.Status || r.FuelIs != r.FuelWas || len(r.Result.Waits) != waits {
					t.Errorf("%+v", r)
				}
			}
			for _, answer := range []map[string]any{
				{"user": map[string]any{"action": "accept", "content": map[string]any{"name": "Ann"}}},
				{"where": map[string]any{"roots": []any{}}, "said": map[string]any{"content": "ho", "model": "m", "finish_reason": "endTurn"}},
			} {
				if was.Status != engine.Suspended || len(was.Waits) != 1 || !strings.HasPrefix(was.Waits[0].EventKey, kernel.InputKey) {
					t.Fatalf("%+v %v", was, was.Err)
				}
				again(1)
				results, err := h.Signal(t.Context(), was.Waits[0].EventKey, answer, host.RunOptions{Client: client})
				if err != nil || len(results) != 1 {
					t.Fatal(results, err)
				}
				was = results[0]
			}
			if was.Status != engine.Completed || client.Lacked() != nil {
				t.Fatalf("%+v %v", was, was.Err)
			}
			again(0)
			// Nor is anybody asked by what is to be otherwise: from the node on, its answers are those of then.
			r, err := d.replayer(t, host.ReplayOptions{From: "n"}).Run(t.Context(), was.RunID)
			if err != nil || r.Is != engine.Completed || len(r.Nodes)+len(r.Differences) > 0 {
				t.Errorf("from the node on: %+v, %v", r, err)
			}
		})
	}
}
