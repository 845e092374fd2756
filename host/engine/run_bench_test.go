package engine

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
)

// nodes writes a pipeline of n nodes, in a chain or side by side.
func nodes(n int, chained bool, kind, spec string) string {
	var b strings.Builder
	b.WriteString("kind: Pipeline\nmetadata: {name: b}\nspec:\n  nodes:\n")
	for i := range n {
		deps := ""
		if !chained {
			deps = ", dependencies: []"
		}
		fmt.Fprintf(&b, "    - {kind: %s, metadata: {name: n%d}%s, spec: {%s}}\n", kind, i, deps, spec)
	}
	return b.String()
}

// nothing is a hook in Go that continues.
type nothing struct{}

func (nothing) BeforeNode(context.Context, *kernel.NodeCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (nothing) AfterNode(context.Context, *kernel.NodeCall, kernel.Value, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// BenchmarkRun reports the time of a node, over whole runs.
func BenchmarkRun(b *testing.B) {
	const n = 1000
	hooked := []NodeHook{{Name: "nothing", Hook: nothing{}}}
	for _, c := range []struct {
		name     string
		text     string
		hooks    []NodeHook
		observed bool
		labelled bool
	}{
		{"chain-of-functions", nodes(n, true, "function_node", "fn: pass"), nil, false, false},
		{"chain-of-functions-observed", nodes(n, true, "function_node", "fn: pass"), nil, true, false},
		{"chain-of-functions-labelled", nodes(n, true, "function_node", "fn: pass"), nil, false, true},
		{"chain-of-functions-hooked", nodes(n, true, "function_node", "fn: pass"), hooked, false, false},
		{"chain-of-expressions", nodes(n, true, "expression_node", "expressions: {x: x + 1}"), nil, false, false},
		{"chain-of-expressions-labelled", nodes(n, true, "expression_node", "expressions: {x: x + 1}"), nil, false, true},
		{"wide-functions", nodes(n, false, "function_node", "fn: pass"), nil, false, false},
		{"wide-data", nodes(n, false, "data_node", "output: {a: 1}"), nil, false, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, err := pipeline.Parse("b.yaml", []byte(c.text), pipeline.Options{})
			if err != nil {
				b.Fatal(err)
			}
			e := New(Options{Door: ports.NewDoor(allow{}, allow{}), Hooks: c.hooks, Functions: map[string]Function{"pass": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) { return c.Input, nil }}})
			plan, err := e.Plan(p, Doors{}, nil)
			if err != nil {
				b.Fatal(err)
			}
			events := 0
			b.ReportAllocs()
			labels, err := kernel.NewLabels(kernel.Untrusted, kernel.Secret, "input")
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				rc := &kernel.RunContext{RunID: "r", Started: time.Now()}
				if c.labelled {
					rc.InputLabels = labels
				}
				if c.observed {
					rc.Observer = func(*kernel.Event) { events++ }
				}
				if res := plan.Run(b.Context(), rc, map[string]any{"x": kernel.Number(1)}, nil); res.Status != Completed || len(res.NodeResults) != n {
					b.Fatal(res.Err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/node")
		})
	}
}

// BenchmarkUnhooked compares a node's work with the same through a chain of no hooks.
func BenchmarkUnhooked(b *testing.B) {
	e := New(Options{Functions: map[string]Function{"pass": func(_ context.Context, c *kernel.NodeCall) (kernel.Value, error) { return c.Input, nil }}})
	w := &worker{g: &graph{r: &run{Plan: &Plan{engine: e}}}, n: &pipeline.Node{Body: &pipeline.Function{Module: "pass"}}, site: &site{}}
	call := &kernel.NodeCall{Input: "x"}
	check := func(b *testing.B, v kernel.Value, err error) {
		if v != call.Input || err != nil {
			b.Fatal(v, err)
		}
	}
	b.Run("alone", func(b *testing.B) {
		for b.Loop() {
			v, err := w.execute(b.Context(), call)
			check(b, v, err)
		}
	})
	b.Run("through-no-hooks", func(b *testing.B) {
		for b.Loop() {
			v, err := w.hooked(b.Context(), call, 0)
			check(b, v, err)
		}
	})
}

// BenchmarkLoad reports the time of a node, from YAML to a plan.
func BenchmarkLoad(b *testing.B) {
	const n = 500
	text := []byte(nodes(n, true, "expression_node", "expressions: {x: 'x * 2 if x > 1 else n0.x'}, when: x > 0"))
	e := New(Options{Door: ports.NewDoor(allow{}, allow{})})
	b.ReportAllocs()
	for b.Loop() {
		p, err := pipeline.Parse("b.yaml", text, pipeline.Options{})
		if err == nil {
			_, err = e.Plan(p, Doors{}, nil)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/node")
}

// BenchmarkManyRuns holds 10,000 runs of a short pipeline at once.
func BenchmarkManyRuns(b *testing.B) {
	const runs = 10_000
	p, err := pipeline.Parse("b.yaml", []byte(nodes(3, true, "function_node", "fn: wait")), pipeline.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		release := make(chan struct{})
		e := New(Options{Door: ports.NewDoor(allow{}, allow{}), Functions: map[string]Function{"wait": func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
			<-release
			return nil, nil
		}}})
		plan, err := e.Plan(p, Doors{}, nil)
		if err != nil {
			b.Fatal(err)
		}
		before := heap()
		done := make(chan Status, runs)
		for i := range runs {
			go func() {
				done <- plan.Run(context.Background(), &kernel.RunContext{RunID: fmt.Sprint(i), Started: time.Now()}, nil, nil).Status
			}()
		}
		time.Sleep(100 * time.Millisecond) // until all have begun
		b.ReportMetric(float64(heap()-before)/runs, "B/run")
		close(release)
		for range runs {
			if s := <-done; s != Completed {
				b.Fatal(s)
			}
		}
	}
}

// heap returns how many bytes the heap and the stacks hold.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}
