package host_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

const approval = `kind: Pipeline
metadata: {name: approval}
spec:
  output: {done: finish.text}
  nodes:
    - {kind: expression_node, metadata: {name: before}, spec: {expressions: {seen: "str(order_id)"}}}
    - {kind: wait_node, metadata: {name: decision}, spec: {event_key: "approval:{{ order_id }}", timeout: TIMEOUT}, dependencies: [before]}
    - {kind: expression_node, metadata: {name: aside}, dependencies: [before], spec: {expressions: {x: "1"}}}
    - {kind: expression_node, metadata: {name: finish}, spec: {expressions: {text: "before.seen + ': ' + decision.by"}}}
`

// loaded is a host without a configuration and a pipeline on it.
func loaded(t *testing.T, text string, opts host.Options) (*host.Host, *host.Pipeline) {
	t.Helper()
	h := bare(t, opts)
	return h, loadText(t, h, text)
}

func loadText(t *testing.T, h *host.Host, text string) *host.Pipeline {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pipeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := h.Load(t.Context(), file, host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(t.Context()) })
	return p
}

func run(t *testing.T, p *host.Pipeline, input string) *host.Result {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	return p.Run(t.Context(), v, host.RunOptions{})
}

func TestWaitAndResume(t *testing.T) {
	h, p := loaded(t, strings.ReplaceAll(approval, "TIMEOUT", "1d12h"), host.Options{})
	first, second := run(t, p, `{"order_id": 5}`), run(t, p, `{"order_id": 6}`)
	if first.Status != engine.Suspended || len(first.Waits) != 1 || first.Waits[0].EventKey != "approval:5" || first.Waits[0].Timeout != 36*time.Hour {
		t.Fatalf("%s %+v %v", first.Status, first.Waits, first.Err)
	}
	if _, ran := first.NodeResults["aside"]; !ran {
		t.Error("what does not wait did not run")
	}
	waiting, err := h.Waiting()
	if err != nil || len(waiting) != 2 || waiting[0].RunID != first.RunID || waiting[1].RunID != second.RunID {
		t.Fatalf("%+v, %v", waiting, err)
	}
	rec := &host.Recorder{}
	res, err := h.Resume(t.Context(), first.RunID, "", map[string]any{"by": "Ann"}, host.RunOptions{Recorder: rec})
	if err != nil || res.Status != engine.Completed || res.RunID != first.RunID || res.Output["done"] != "5: Ann" {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, e := range rec.Events() {
		if e.Type == kernel.NodeStarted && e.Node != "finish" {
			t.Errorf("node %s ran again", e.Node)
		}
	}
	if _, err := h.Resume(t.Context(), first.RunID, "", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound {
		t.Errorf("resumed twice: %v", err)
	}
	// A key that it does not wait for leaves it waiting.
	if _, err := h.Resume(t.Context(), second.RunID, "approval:5", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound || !strings.Contains(err.Error(), "approval:6") {
		t.Errorf("another's event: %v", err)
	}
	results, err := h.Signal(t.Context(), "approval:6", map[string]any{"by": "Bob"}, host.RunOptions{})
	if err != nil || len(results) != 1 || results[0].Output["done"] != "6: Bob" {
		t.Errorf("%+v, %v", results, err)
	}
	if left, _ := h.Waiting(); len(left) != 0 {
		t.Errorf("still waiting: %+v", left)
	}
}

func TestWaitsExpire(t *testing.T) {
	h, p := loaded(t, strings.ReplaceAll(approval, "TIMEOUT", "0.05"), host.Options{})
	if res := run(t, p, `{"order_id": 7}`); res.Status != engine.Suspended {
		t.Fatal(res.Err)
	}
	if results, err := h.Expire(t.Context(), time.Now().Add(-time.Hour), host.RunOptions{}); err != nil || len(results) != 0 {
		t.Fatalf("expired before its time: %+v, %v", results, err)
	}
	results, err := h.Expire(t.Context(), time.Now().Add(time.Hour), host.RunOptions{})
	if err != nil || len(results) != 1 {
		t.Fatalf("%+v, %v", results, err)
	}
	wantError(t, results[0].Err, kernel.CodeTimeout, "approval:7", "node decision", "50ms")
	if left, _ := h.Waiting(); len(left) != 0 {
		t.Errorf("still waiting: %+v", left)
	}
	// With a handler the run goes on.
	handled := strings.ReplaceAll(approval, "timeout: TIMEOUT", "timeout: 0.05, on_timeout: late")
	handled = strings.Replace(handled, "    - {kind: expression_node, metadata: {name: finish}", "    - {kind: expression_node, metadata: {name: late}, spec: {expressions: {why: decision._error.type}}}\n    - {kind: expression_node, metadata: {name: finish}", 1)
	p = loadText(t, h, strings.Replace(handled, `"before.seen + ': ' + decision.by"`, `"'over'"`, 1))
	if res := run(t, p, `{"order_id": 8}`); res.Status != engine.Suspended {
		t.Fatal(res.Err)
	}
	done := make(chan *host.Result, 1)
	var watching sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	watching.Go(func() {
		h.WatchWaits(ctx, 10*time.Millisecond, host.RunOptions{}, func(r *host.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			done <- r
		})
	})
	select {
	case res := <-done:
		late, _ := res.NodeResults["late"].(map[string]any)
		if res.Status != engine.Completed || late["why"] != "timeout" {
			t.Errorf("%s %v %v", res.Status, res.NodeResults, res.Err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the timeout did not fire")
	}
	stop()
	watching.Wait()
}

// Two waits of one run are both remembered, and either may come first.
func TestTwoWaits(t *testing.T) {
	h, p := loaded(t, `kind: Pipeline
metadata: {name: two}
spec:
  output: {both: sum.s}
  nodes:
    - {kind: wait_node, metadata: {name: a}, dependencies: [], spec: {event_key: ka}}
    - {kind: wait_node, metadata: {name: b}, dependencies: [], spec: {event_key: kb}}
    - {kind: expression_node, metadata: {name: sum}, spec: {expressions: {s: a + b}}}
`, host.Options{})
	res := run(t, p, `{}`)
	if len(res.Waits) != 2 {
		t.Fatalf("%+v", res.Waits)
	}
	half, err := h.Resume(t.Context(), res.RunID, "kb", 2, host.RunOptions{})
	if err != nil || half.Status != engine.Suspended || len(half.Waits) != 1 || half.Waits[0].EventKey != "ka" {
		t.Fatalf("%+v, %v", half, err)
	}
	whole, err := h.Resume(t.Context(), res.RunID, "ka", 1, host.RunOptions{})
	if err != nil || whole.Status != engine.Completed || kernel.CodeOf(whole.Err) != "" || jsonText(t, whole.Output["both"]) != "3" {
		t.Errorf("%+v, %v", whole, err)
	}
}

func jsonText(t *testing.T, v kernel.Value) string {
	t.Helper()
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Of many that resume a run, one does.
func TestOneResumes(t *testing.T) {
	h, p := loaded(t, strings.ReplaceAll(approval, "TIMEOUT", "60"), host.Options{})
	res := run(t, p, `{"order_id": 9}`)
	var mu sync.Mutex
	done := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			r, err := h.Resume(t.Context(), res.RunID, "", map[string]any{"by": "x"}, host.RunOptions{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil && r.Status == engine.Completed {
				done++
			} else if kernel.CodeOf(err) != kernel.CodeNotFound {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
	all.Wait()
	if done != 1 {
		t.Errorf("%d resumed it", done)
	}
}

// What a process was resuming when it died waits again for the next one.
func TestAbandonedResumption(t *testing.T) {
	s := newSite(t, "  env: []\n")
	h, err := s.new(t)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "p.yaml", strings.ReplaceAll(approval, "TIMEOUT", "60"))
	p, err := h.Load(t.Context(), s.path("p.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	res := run(t, p, `{"order_id": 1}`)
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := s.path(".hexdag/suspended/" + res.RunID + ".json")
	if err := os.Rename(file, file+".resuming"); err != nil {
		t.Fatal(err)
	}
	h = s.open(t)
	r, err := h.Resume(t.Context(), res.RunID, "", map[string]any{"by": "Eve"}, host.RunOptions{})
	if err != nil || r.Output["done"] != "1: Eve" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, bad := range []string{"../audit/checkpoint", "nobody", ""} {
		if _, err := h.Resume(t.Context(), bad, "", nil, host.RunOptions{}); kernel.CodeOf(err) != kernel.CodeNotFound {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
