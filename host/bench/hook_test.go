package bench

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
)

// nativeNodeHook is a hook in Go that does what nodehook.c does.
type nativeNodeHook struct{}

func (nativeNodeHook) BeforeNode(_ context.Context, c *kernel.NodeCall) (kernel.Verdict, error) {
	if _, ok := c.Input.(map[string]any)["x"].(string); !ok {
		return kernel.Verdict{Action: kernel.Deny}, nil
	}
	return kernel.Verdict{}, nil
}

func (nativeNodeHook) AfterNode(context.Context, *kernel.NodeCall, kernel.Value, error) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

// BenchmarkNodeHook runs the chain of BenchmarkWorkflow with a hook around every
// node: the difference to none is what a hook costs.
func BenchmarkNodeHook(b *testing.B) {
	b.Run("none", func(b *testing.B) { chainWith(b) })
	b.Run("go", func(b *testing.B) { chainWith(b, engine.NodeHook{Name: "go", Hook: nativeNodeHook{}}) })
	for _, isolation := range []sandbox.Isolation{sandbox.Shared, sandbox.IsolateCall} {
		b.Run("wasm-"+string(isolation), func(b *testing.B) { chainWith(b, wasmHook(b, isolation)) })
	}
	b.Run("wasm-shared-twice", func(b *testing.B) { chainWith(b, wasmHook(b, sandbox.Shared), wasmHook(b, sandbox.Shared)) })
}

func wasmHook(b *testing.B, isolation sandbox.Isolation) engine.NodeHook {
	m, err := extension.Load(ctx, newSandbox(b), ports.NewDoor(allowing{}, allowing{}), slog.New(slog.DiscardHandler), extension.Spec{Name: "nodehook", Path: filepath.Join("guests", "nodehook.wasm"), Isolation: isolation})
	must(b, err)
	b.Cleanup(func() { must(b, m.Close(ctx)) })
	hook, err := m.NodeHook()
	must(b, err)
	return engine.NodeHook{Name: "wasm", Hook: hook}
}

func chainWith(b *testing.B, hooks ...engine.NodeHook) {
	plan := passingPipeline(b, hooks...)
	b.ReportAllocs()
	for b.Loop() {
		if res := plan.Run(ctx, &kernel.RunContext{RunID: "r", PipelineName: "b", Tenant: "t", Principal: "p", Started: time.Now()}, map[string]any{"x": "y"}, nil); res.Status != engine.Completed {
			b.Fatal(res.Err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/workflowNodes, "ns/node")
}
