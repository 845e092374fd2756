package host_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/journal/memjournal"
	"github.com/hexdag/hexdag/host/kernel"
)

// inRow is a pipeline of n nodes, each after the one before.
func inRow(n int, node func(i int, after string) string) string {
	var b strings.Builder
	b.WriteString("kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n")
	after := ""
	for i := range n {
		b.WriteString("    - " + node(i, after) + "\n")
		after = fmt.Sprintf("n%d", i)
	}
	return b.String()
}

func computed(i int, after string) string {
	return fmt.Sprintf(`{kind: function_node, metadata: {name: n%d}, dependencies: [%s], spec: {fn: work}}`, i, after)
}

// called is a node that reads the memory, each third time, and computes else.
func called(i int, after string) string {
	if i%3 > 0 {
		return fmt.Sprintf(`{kind: expression_node, metadata: {name: n%d}, dependencies: [%s], spec: {expressions: {v: "%d"}}}`, i, after, i)
	}
	return fmt.Sprintf(`{kind: service_call_node, metadata: {name: n%d}, dependencies: [%s], spec: {service: memory, method: get, input_mapping: {key: "'k'"}}}`, i, after)
}

func benchHost(b *testing.B, spec string, opts host.Options) *host.Host {
	b.Helper()
	s := newSite(b, spec)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	opts.Version = "1"
	h, err := host.New(b.Context(), cfg, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = h.Close(context.Background()) })
	return h
}

func benchLoad(b *testing.B, h *host.Host, text string) *host.Pipeline {
	b.Helper()
	s := site{b.TempDir()}
	s.write(b, "pipeline.yaml", text)
	p, err := h.Load(b.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// BenchmarkJournal is what keeping a journal on the disk costs a node: 64 runs of 30 nodes at once, a third of which call a port.
func BenchmarkJournal(b *testing.B) {
	for _, durable := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "sqlite"}[durable], func(b *testing.B) {
			h := benchHost(b, "  ports: {memory: {adapter: memory}}\n", host.Options{})
			p := benchLoad(b, h, inRow(30, called))
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			for range 64 {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if r := p.Run(b.Context(), map[string]any{}, host.RunOptions{Durable: durable}); r.Status != engine.Completed {
							b.Error(r.Err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/30, "us/node")
		})
	}
}

// BenchmarkJournalHooks is what a journal costs where modules hook in: nodes in a row, each inside of eight hooks that all share, and of
// none. What a hook costs is what the nodes with eight take more, by eight.
func BenchmarkJournalHooks(b *testing.B) {
	for _, durable := range []bool{false, true} {
		took := map[int]float64{}
		for _, hooks := range []int{0, 8} {
			b.Run(fmt.Sprintf("%s/%d", map[bool]string{false: "off", true: "on"}[durable], hooks), func(b *testing.B) {
				h := benchHost(b, "  modules: {guard: {path: PUPPET, isolation: shared, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}}\n  hooks: ["+strings.Repeat("{module: guard}, ", hooks)+"]\n  ports: {database: {adapter: memory}}\n",
					host.Options{Journal: memjournal.New(), Functions: map[string]host.Function{"work": func(context.Context, *kernel.NodeCall) (kernel.Value, error) { return true, nil }}})
				p := benchLoad(b, h, inRow(300, computed))
				b.ResetTimer()
				for b.Loop() {
					if r := p.Run(b.Context(), map[string]any{}, host.RunOptions{Durable: durable}); r.Status != engine.Completed {
						b.Fatal(r.Err)
					}
				}
				took[hooks] = float64(b.Elapsed().Nanoseconds()) / float64(b.N) / 300
				b.ReportMetric(took[hooks], "ns/node")
				if hooks > 0 {
					b.ReportMetric((took[hooks]-took[0])/float64(hooks), "ns/hook")
				}
			})
		}
	}
}

// BenchmarkRecover goes on with a run of 1,000 nodes of which all but one are done.
func BenchmarkRecover(b *testing.B) {
	s := memjournal.NewServer()
	work := func(context.Context, *kernel.NodeCall) (kernel.Value, error) { return true, nil }
	opts := host.Options{Journal: s.Open("first"), Functions: map[string]host.Function{"work": work}}
	first := benchHost(b, "  ports: {}\n", opts)
	p := benchLoad(b, first, inRow(1000, computed))
	r := p.Run(b.Context(), map[string]any{}, host.RunOptions{Durable: true})
	if r.Status != engine.Completed {
		b.Fatal(r.Err)
	}
	reader := s.Open("reader")
	j, err := journal.Read(b.Context(), reader, "default", r.RunID)
	if err != nil {
		b.Fatal(err)
	}
	entries, err := j.All(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	of := &driver.Run{ID: r.RunID, Tenant: "default", Pipeline: "test", Version: p.Version, Begun: entries[0].Time}
	b.ResetTimer()
	for b.Loop() {
		b.StopTimer()
		opts.Journal = died(b, of, entries[:len(entries)-8]).Open("second")
		h := benchHost(b, "  ports: {}\n", opts)
		b.StartTimer()
		back, err := h.RecoverRun(b.Context(), r.RunID, host.RunOptions{})
		if err != nil || back.Result.Status != engine.Completed {
			b.Fatal(err, back)
		}
	}
}

// BenchmarkReplay does a run again whose model took 20 ms for each of ten answers.
func BenchmarkReplay(b *testing.B) {
	s := memjournal.NewServer()
	slow := host.PortOp{Name: "llm.complete", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		time.Sleep(20 * time.Millisecond)
		return &kernel.PortReply{Value: map[string]any{"content": "yes"}}, nil
	}}
	h := benchHost(b, "  ports: {}\n", host.Options{Journal: s.Open("first"), Ports: []host.PortOp{slow}})
	p := benchLoad(b, h, inRow(10, func(i int, after string) string {
		return fmt.Sprintf(`{kind: llm_node, metadata: {name: n%d}, dependencies: [%s], spec: {human_message: "well?"}}`, i, after)
	}))
	began := time.Now()
	r := p.Run(b.Context(), map[string]any{}, host.RunOptions{Durable: true})
	took := time.Since(began)
	if r.Status != engine.Completed {
		b.Fatal(r.Err)
	}
	cfg := &host.Config{File: b.TempDir() + "/hexdag.yaml", Env: []string{"*"}}
	replayer, err := host.OpenReplayer(b.Context(), cfg, host.Options{Journal: s.Open("replay")}, host.ReplayOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer replayer.Close(b.Context())
	for b.Loop() {
		again, err := replayer.Run(b.Context(), r.RunID)
		if err != nil || !again.Same {
			b.Fatal(err, again)
		}
	}
	b.ReportMetric(float64(took)/(float64(b.Elapsed())/float64(b.N)), "times-faster")
}
