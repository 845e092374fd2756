package engine

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// functions are bodies in Go for tests.
func functions() map[string]Function {
	return map[string]Function{
		"double": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) {
			var n int64
			err := kernel.FromValue(c.Input.(map[string]any)["item"], &n)
			return kernel.Number(2 * n), err
		},
		"fails.on_two": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) {
			item := c.Input.(map[string]any)["item"]
			if fmt.Sprint(item) == "2" {
				return nil, &kernel.Error{Code: kernel.CodeFailed, What: "two is too much"}
			}
			return item, nil
		},
		"count": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) {
			items, _ := c.Input.(map[string]any)["items"].([]any)
			return kernel.Number(int64(len(items))), nil
		},
		"loop": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) {
			<-ctx.Done()
			return nil, kernel.ContextError(ctx)
		},
	}
}

// runYAML runs the spec of one node, "r", on an input, and returns its result as JSON.
func runYAML(t *testing.T, kind, spec, input string) (string, *Result, *recorder) {
	t.Helper()
	text := "kind: Pipeline\nmetadata: {name: t}\nspec:\n  nodes:\n    - kind: " + kind + "\n      metadata: {name: r}\n      spec:\n        " + strings.ReplaceAll(spec, "\n", "\n        ") + "\n"
	p, err := pipeline.Parse("t.yaml", []byte(text), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	v, err := kernel.DecodeJSON([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	e := New(Options{Door: bench(t, nil).door, Functions: functions()})
	res, rec := runGraph(t.Context(), e, p, v)
	got, err := kernel.EncodeJSON(res.NodeResults["r"])
	if err != nil {
		t.Fatal(err)
	}
	return string(got), res, rec
}

const square = "body: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: 'index ** 2', id: '\"k\" + str(index)'}, output_fields: [v, id]}}]"

func TestComposite(t *testing.T) {
	for name, tc := range map[string]struct{ spec, input, want string }{
		"for-each keeps the order under concurrency": {"mode: for-each\nitems: xs\nconcurrency: 3\nbody: double", `{"xs":[1,2,3]}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":3,"mode":"for-each","stopped_by":"exhausted","successful":3},"result":[2,4,6]}`},
		"for-each of nothing": {"mode: for-each\nitems: xs\nbody: double", `{"xs":[]}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":0,"mode":"for-each","stopped_by":"exhausted","successful":0},"result":[]}`},
		"for-each goes on": {"mode: for-each\nitems: '[1, 2, 3]'\nerror_handling: continue\nbody: fails.on_two", `{}`,
			`{"metadata":{"errors":[{"error":"two is too much","index":1,"type":"failed"}],"failed":1,"iterations":3,"mode":"for-each","stopped_by":"exhausted","successful":2},"result":[1,null,3]}`},
		"items that YAML has written out": {"mode: for-each\nitems: [4]\nbody: double", `{}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":1,"mode":"for-each","stopped_by":"exhausted","successful":1},"result":[8]}`},
		"a dict is its keys": {"mode: for-each\nitems: d\ncollect: first\nbody: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {k: $item, last: $is_last, n: $total}}}]", `{"d":{"b":1,"a":2}}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":2,"mode":"for-each","stopped_by":"exhausted","successful":2},"result":{"k":"a","last":false,"n":2}}`},
		"times": {"mode: times\ncount: 3\n" + square, `{}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":3,"mode":"times","stopped_by":"exhausted","successful":3},"result":[{"id":"k0","v":0},{"id":"k1","v":1},{"id":"k2","v":4}]}`},
		"times of an expression, collected by key": {"mode: times\ncount: $input.n\ncollect: dict\nkey_field: id\n" + square, `{"n":2}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":2,"mode":"times","stopped_by":"exhausted","successful":2},"result":{"k0":{"id":"k0","v":0},"k1":{"id":"k1","v":1}}}`},
		"collect last": {"mode: times\ncount: 5\ncollect: last\nbody: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: index}}}]", `{}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":5,"mode":"times","stopped_by":"exhausted","successful":5},"result":{"v":4}}`},
		"collect reduce": {"mode: times\ncount: 4\ncollect: reduce\nreducer: count\n" + square, `{}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":4,"mode":"times","stopped_by":"exhausted","successful":4},"result":4}`},
		"while assigns values": {"mode: while\ncondition: state.sum < 10\ninitial_state: {sum: 0, seen: []}\nstate_update: {sum: state.sum + $body.v, seen: 'state.seen + [state.sum]'}\ncollect: last\nbody: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: 'iteration + 2'}}}]", `{}`,
			`{"metadata":{"errors":null,"failed":0,"final_state":{"iteration":4,"seen":[2,5,9,14],"sum":14},"iterations":4,"mode":"while","stopped_by":"condition","successful":4},"result":{"v":5}}`},
		"while on a condition that cannot be evaluated": {"mode: while\ncondition: state.x / 0 > 1\ninitial_state: {x: 1}\nbody: double", `{"item":1}`,
			`{"metadata":{"errors":null,"failed":0,"final_state":{"x":1},"iterations":0,"mode":"while","stopped_by":"condition_error","successful":0},"result":[]}`},
		"if": {"mode: if-else\ncondition: $input.tier == 'gold'\nbody: [{kind: data_node, metadata: {name: e}, spec: {output: {lane: fast}}}]\nelse_body: [{kind: data_node, metadata: {name: f}, spec: {output: {lane: slow}}}]", `{"tier":"gold"}`,
			`{"metadata":{"branch_taken":"if","condition_met":true,"mode":"if-else"},"result":{"lane":"fast"}}`},
		"else": {"mode: if-else\ncondition: tier == 'gold'\nbody: double\nelse_body: [{kind: data_node, metadata: {name: f}, spec: {output: {lane: '{{ tier }}'}}}]", `{"tier":"iron"}`,
			`{"metadata":{"branch_taken":"else","condition_met":false,"mode":"if-else"},"result":{"lane":"iron"}}`},
		"switch runs the first body that matches": {"mode: switch\nbranches: [{condition: s >= 0.9, body: [{kind: data_node, metadata: {name: h}, spec: {output: high}}]}, {condition: s >= 0.5, body: [{kind: data_node, metadata: {name: m}, spec: {output: medium}}]}]\nelse_body: [{kind: data_node, metadata: {name: l}, spec: {output: low}}]", `{"s":0.95}`,
			`{"metadata":{"evaluations":[true],"has_else":true,"matched_action":null,"matched_branch":0,"mode":"switch","stopped_by":"branch_matched"},"result":"high"}`},
		"switch, else": {"mode: switch\nbranches: [{condition: s >= 0.9, action: up}]\nelse_action: down", `{"s":0.3}`,
			`{"metadata":{"evaluations":[false],"has_else":true,"matched_action":"down","matched_branch":null,"mode":"switch","stopped_by":"else"},"result":"down"}`},
		"bodies name outer fields and their own nodes": {"mode: times\ncount: 1\ncollect: last\nbody:\n  - {kind: expression_node, metadata: {name: a}, spec: {expressions: {x: 'base * 2'}}}\n  - {kind: expression_node, metadata: {name: b}, spec: {expressions: {y: 'a.x + $input.base'}}}", `{"base":5}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":1,"mode":"times","stopped_by":"exhausted","successful":1},"result":{"y":15}}`},
		"a body in a body": {"mode: for-each\nitems: rows\nitem_var: row\nbody: [{kind: composite_node, metadata: {name: inner}, spec: {mode: for-each, items: row, body: double}}]", `{"rows":[[1],[2,3]]}`,
			`{"metadata":{"errors":null,"failed":0,"iterations":2,"mode":"for-each","stopped_by":"exhausted","successful":2},"result":[{"metadata":{"errors":null,"failed":0,"iterations":1,"mode":"for-each","stopped_by":"exhausted","successful":1},"result":[2]},{"metadata":{"errors":null,"failed":0,"iterations":2,"mode":"for-each","stopped_by":"exhausted","successful":2},"result":[4,6]}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got, res, _ := runYAML(t, "composite_node", tc.spec, tc.input); got != tc.want {
				t.Errorf("got  %s\nwant %s\n%v", got, tc.want, res.Err)
			}
		})
	}
}

func TestCompositeFails(t *testing.T) {
	for name, tc := range map[string]struct{ spec, input, says string }{
		"the first failure":  {"mode: for-each\nitems: '[1, 2, 3, 2]'\nbody: fails.on_two", `{}`, "two is too much"},
		"no list":            {"mode: for-each\nitems: x\nbody: double", `{"x":7}`, "items of node r is no list: it is 7"},
		"missing items":      {"mode: for-each\nitems: nobody\nbody: double", `{}`, "nobody"},
		"count of nothing":   {"mode: times\ncount: $input.n\nbody: double", `{"n":0}`, "whole number from 1 to 1000000"},
		"too many":           {"mode: times\ncount: $input.n\nbody: double", `{"n":1000001}`, "whole number from 1 to 1000000"},
		"a node of the body": {"mode: times\ncount: 2\nbody: [{kind: expression_node, metadata: {name: e}, spec: {expressions: {v: '1 / 0'}}}]", `{}`, "Expression 'v' failed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, res, _ := runYAML(t, "composite_node", tc.spec, tc.input)
			if res.Status != Failed || res.Error == nil || !strings.Contains(res.Err.Error(), tc.says) {
				t.Errorf("%s: %v does not say %q", res.Status, res.Err, tc.says)
			}
		})
	}
}

// A failing iteration stops the others that fail_fast makes pointless.
func TestFailFastStopsTheRest(t *testing.T) {
	var begun atomic.Int64
	e := New(Options{Door: bench(t, nil).door, Functions: map[string]Function{"f": func(ctx context.Context, c *kernel.NodeCall) (kernel.Value, error) {
		if begun.Add(1) == 3 {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the third"}
		}
		select {
		case <-ctx.Done():
			return nil, kernel.ContextError(ctx)
		case <-time.After(10 * time.Second):
			return nil, nil
		}
	}}})
	p, err := pipeline.Parse("t.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: composite_node, metadata: {name: r}, spec: {mode: times, count: 1000, concurrency: 3, body: f}}]}\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	res, _ := runGraph(t.Context(), e, p, nil)
	if res.Status != Failed || !strings.Contains(res.Err.Error(), "the third") || time.Since(started) > 5*time.Second || begun.Load() > 6 {
		t.Errorf("%s after %d iterations: %v", res.Status, begun.Load(), res.Err)
	}
}

// Bodies share the run's bound of what runs at once, and nesting them is no deadlock.
func TestBodiesShareTheBound(t *testing.T) {
	var now, most atomic.Int64
	e := New(Options{Door: bench(t, nil).door, Functions: map[string]Function{"work": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(time.Millisecond)
		now.Add(-1)
		return nil, nil
	}}})
	nested := `{kind: composite_node, metadata: {name: in}, spec: {mode: times, count: 5, concurrency: 5, body: work}}`
	var nodes []string
	for i := range 6 {
		nodes = append(nodes, fmt.Sprintf("{kind: composite_node, metadata: {name: r%d}, dependencies: [], spec: {mode: times, count: 5, concurrency: 5, body: [%s]}}", i, nested))
	}
	p, err := pipeline.Parse("t.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec: {orchestrator: {max_concurrent_nodes: 3}, nodes: ["+strings.Join(nodes, ", ")+"]}\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, _ := runGraph(t.Context(), e, p, nil)
	if res.Status != Completed || most.Load() != 3 {
		t.Errorf("%s, %d at once: %v", res.Status, most.Load(), res.Err)
	}
}

func TestCancelReachesBodies(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	e := New(Options{Door: bench(t, nil).door, Functions: functions()})
	p, err := pipeline.Parse("t.yaml", []byte("kind: Pipeline\nmetadata: {name: t}\nspec: {nodes: [{kind: composite_node, metadata: {name: r}, spec: {mode: times, count: 100, concurrency: 4, error_handling: continue, body: loop}}]}\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	res, rec := runGraph(ctx, e, p, nil)
	if res.Status != Cancelled || time.Since(started) > 5*time.Second {
		t.Errorf("%s after %s: %v", res.Status, time.Since(started), res.Err)
	}
	if got := rec.of(kernel.PipelineCompleted); len(got) != 1 {
		t.Errorf("terminal events %v", got)
	}
}
