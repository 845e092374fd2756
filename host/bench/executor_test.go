package bench

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/testserver"
)

// links is how many nodes follow one another: what a run takes beside them is spread over so many. At a time there are
// so many runs that the processor is what they wait for: the server takes 100 ms from one activity to the next, however
// little there is to do.
const (
	links  = 20
	atOnce = 64
)

// BenchmarkTemporal runs the same chain as a pipeline on the executor, and as a workflow of bare activities with the same
// options, which each add one to what the one before answered. Both have a worker in this process; the two take turns.
func BenchmarkTemporal(b *testing.B) {
	address := testserver.TemporalInMemory(b).Address()
	ours, bare := onExecutor(b, address), onActivities(b, address)
	ours()
	bare()
	var took [2]time.Duration
	for b.Loop() {
		for i, f := range []func(){ours, bare} {
			began := time.Now()
			var runs sync.WaitGroup
			for range atOnce {
				runs.Go(f)
			}
			runs.Wait()
			took[i] += time.Since(began)
		}
	}
	perNode := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N) / links / atOnce }
	b.ReportMetric(perNode(took[0]), "us/node")
	b.ReportMetric(perNode(took[1]), "us/bare-activity")
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "ratio")
}

func onExecutor(b *testing.B, address string) func() {
	b.Helper()
	dir := b.TempDir()
	h, err := host.New(b.Context(), &host.Config{
		File: filepath.Join(dir, "hexdag.yaml"), Executor: pipeline.ExecutorSpec{Adapter: "temporal", Config: map[string]any{"address": address, "task_queue": "ours"}},
	}, host.Options{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var working sync.WaitGroup
	working.Go(func() {
		if err := h.Work(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() {
		stop()
		working.Wait()
		_ = h.Close(context.Background()) // it is over
	})
	var text strings.Builder
	text.WriteString("kind: Pipeline\nmetadata: {name: chain}\nspec:\n  output: {n: n19.n}\n  nodes:\n    - {kind: expression_node, metadata: {name: n0}, spec: {expressions: {n: \"1\"}}}\n")
	for i := 1; i < links; i++ {
		fmt.Fprintf(&text, "    - {kind: expression_node, metadata: {name: n%d}, spec: {expressions: {n: \"n%d.n + 1\"}}}\n", i, i-1)
	}
	file := filepath.Join(dir, "chain.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	p, err := h.Load(b.Context(), file, host.LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if r := p.Run(b.Context(), map[string]any{}, host.RunOptions{}); r.Status != engine.Completed || fmt.Sprint(r.Output["n"]) != fmt.Sprint(links) {
			b.Errorf("%s %v: %v", r.Status, r.Output, r.Err)
		}
	}
}

// link is what a bare activity is given and answers.
type link struct {
	N int `json:"n"`
}

func onActivities(b *testing.B, address string) func() {
	b.Helper()
	c, err := client.Dial(client.Options{HostPort: address, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		b.Fatal(err)
	}
	w := worker.New(c, "bare", worker.Options{})
	w.RegisterActivityWithOptions(func(_ context.Context, l link) (link, error) { return link{l.N + 1}, nil }, activity.RegisterOptions{Name: "link"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) (link, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: 10 * time.Second, WaitForCancellation: true, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 10}})
		var l link
		for range links {
			if err := workflow.ExecuteActivity(ctx, "link", l).Get(ctx, &l); err != nil {
				return l, err
			}
		}
		return l, nil
	}, workflow.RegisterOptions{Name: "chain"})
	if err := w.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		w.Stop()
		c.Close()
	})
	return func() {
		run, err := c.ExecuteWorkflow(b.Context(), client.StartWorkflowOptions{TaskQueue: "bare"}, "chain")
		var l link
		if err == nil {
			err = run.Get(b.Context(), &l)
		}
		if err != nil || l.N != links {
			b.Errorf("%v, %v", l, err)
		}
	}
}
