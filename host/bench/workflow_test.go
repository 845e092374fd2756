package bench

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/eino/compose"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// workflowNodes is how many nodes the workflows have.
const workflowNodes = 200

// BenchmarkWorkflow runs nodes that do nothing, one after the other: a pipeline
// beside a graph of eino, the workflow library that a Go program of agents would
// pick.
func BenchmarkWorkflow(b *testing.B) {
	perNode := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/workflowNodes, "ns/node")
	}
	b.Run("hexdag", func(b *testing.B) {
		plan := passingPipeline(b)
		for b.Loop() {
			if res := plan.Run(ctx, &kernel.RunContext{RunID: "r", Started: time.Now()}, map[string]any{"x": "y"}, nil); res.Status != engine.Completed || len(res.NodeResults) != workflowNodes {
				b.Fatal(res.Err)
			}
		}
		perNode(b)
	})
	b.Run("eino", func(b *testing.B) {
		g := compose.NewGraph[map[string]any, map[string]any]()
		pass := compose.InvokableLambda(func(_ context.Context, in map[string]any) (map[string]any, error) { return in, nil })
		last := compose.START
		for i := range workflowNodes {
			name := fmt.Sprintf("n%d", i)
			must(b, g.AddLambdaNode(name, pass))
			must(b, g.AddEdge(last, name))
			last = name
		}
		must(b, g.AddEdge(last, compose.END))
		run, err := g.Compile(ctx, compose.WithNodeTriggerMode(compose.AllPredecessor))
		must(b, err)
		for b.Loop() {
			if out, err := run.Invoke(ctx, map[string]any{"x": "y"}); err != nil || out["x"] != "y" {
				b.Fatal(err)
			}
		}
		perNode(b)
	})
}

type allowing struct{}

func (allowing) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}

func (allowing) Audit(context.Context, *kernel.AuditRecord) error { return nil }

func passingPipeline(b *testing.B, hooks ...engine.NodeHook) *engine.Plan {
	var text strings.Builder
	text.WriteString("kind: Pipeline\nmetadata: {name: b}\nspec:\n  nodes:\n")
	for i := range workflowNodes {
		fmt.Fprintf(&text, "    - {kind: function_node, metadata: {name: n%d}, spec: {fn: pass}}\n", i)
	}
	p, err := pipeline.Parse("b.yaml", []byte(text.String()), pipeline.Options{})
	must(b, err)
	e := engine.New(engine.Options{Door: ports.NewDoor(allowing{}, allowing{}), Hooks: hooks, Functions: map[string]engine.Function{
		"pass": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) { return c.Input, nil },
	}})
	plan, err := e.Plan(p, engine.Doors{}, nil)
	must(b, err)
	return plan
}
