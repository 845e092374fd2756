package host_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// sample copies the samples of the format's documentation, edits one of them, and
// returns its path. What is replaced has to be there.
func sample(t *testing.T, name string, edits ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("pipeline", "testdata", "samples"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name+".yaml")
	text := readFile(t, file)
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			t.Fatalf("%s does not hold %q", name, edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func loadSample(t *testing.T, h *host.Host, file string) *host.Pipeline {
	t.Helper()
	p, err := h.Load(t.Context(), file, host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	return p
}

// wantValue compares a value with JSON.
func wantValue(t *testing.T, what string, got kernel.Value, want string) {
	t.Helper()
	if diff := cmp.Diff(plain(t, []byte(want)), plainValue(t, got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func runSample(t *testing.T, p *host.Pipeline, input string) *host.Result {
	t.Helper()
	given, err := kernel.DecodeJSON([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	result := p.Run(t.Context(), given, host.RunOptions{})
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	return result
}

func TestSample1(t *testing.T) {
	p := loadSample(t, bare(t, host.Options{}), sample(t, "s1"))
	result := runSample(t, p, `{"price": 10.0, "qty": 20}`)
	wantValue(t, "output", result.Output, `{"amount": 220.0, "note": "big"}`)
	result = runSample(t, p, `{"price": 1.0, "qty": 2}`)
	wantValue(t, "output", result.Output, `{"amount": 2.4, "note": null}`)
	wantValue(t, "flag", result.NodeResults["flag"], `{"_skipped": true, "reason": "when clause 'amount > 100' evaluated to False"}`)
}

func TestSample2(t *testing.T) {
	p := loadSample(t, bare(t, host.Options{}), sample(t, "s2"))
	result := runSample(t, p, `{"text": "hi"}`)
	wantValue(t, "analyze", result.NodeResults["analyze"], `{"sentiment": "pos", "score": 0.9}`)
	wantValue(t, "decide", result.NodeResults["decide"], `{"ok": true}`)
}

// approvers are the functions of sample 3, in Go.
func approvers(notified *[]kernel.Value) map[string]host.Function {
	answer := func(v kernel.Value) host.Function {
		return func(context.Context, *kernel.NodeCall) (kernel.Value, error) { return v, nil }
	}
	return map[string]host.Function{
		"approval_helpers.prepare_request": answer(map[string]any{"what": "a chair"}),
		"approval_helpers.notify_approver": func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
			given, _ := call.Input.(map[string]any)
			*notified = append(*notified, given["request"])
			return map[string]any{"sent": true}, nil
		},
		"approval_helpers.finalize": func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
			given, _ := call.Input.(map[string]any)
			return map[string]any{"final": given["decision"]}, nil
		},
	}
}

// As it is written, it names an adapter that the host has no port for.
func TestSample3(t *testing.T) {
	const ports = "  ports: {notification: {adapter: hexdag.stdlib.adapters.notification.ConsoleNotificationAdapter}}\n"
	var notified []kernel.Value
	h := bare(t, host.Options{Functions: approvers(&notified)})
	_, err := h.Load(t.Context(), sample(t, "s3"), host.LoadOptions{})
	wantError(t, err, kernel.CodeConfig, "there is no port notification", "s3.yaml:6:")

	p := loadSample(t, h, sample(t, "s3", ports, ""))
	result := runSample(t, p, `{"order_id": 5}`)
	if result.Status != engine.Suspended || len(result.Waits) != 1 || result.Waits[0].EventKey != "approval:5" || result.Waits[0].Timeout != 24*time.Hour {
		t.Fatalf("%s, it waits for %+v", result.Status, result.Waits)
	}
	if len(notified) != 1 {
		t.Errorf("notified of %v", notified)
	}
	resumed, err := h.Resume(t.Context(), result.RunID, "approval:5", map[string]any{"approved": true}, host.RunOptions{})
	if err != nil || resumed.Err != nil {
		t.Fatal(err, resumed.Err)
	}
	wantValue(t, "await_decision", resumed.NodeResults["await_decision"], `{"approved": true}`)
	wantValue(t, "finalize", resumed.NodeResults["finalize"], `{"final": {"approved": true}}`)
	if len(notified) != 1 || resumed.RunID != result.RunID {
		t.Errorf("what was done was done again: %v", notified)
	}
}

func TestSample4(t *testing.T) {
	p := loadSample(t, bare(t, host.Options{}), sample(t, "s4"))
	result := runSample(t, p, `{"tier": "gold", "items": [1, 2, 0, 5]}`)
	wantValue(t, "fast", result.NodeResults["fast"], `{"lane": 1}`)
	if slow, _ := result.NodeResults["slow"].(map[string]any); slow["_skipped"] != true {
		t.Errorf("slow: %v", slow)
	}
	each, _ := result.NodeResults["each"].(map[string]any)
	wantValue(t, "each.result", each["result"], `[{"v": 100.0}, {"v": 50.0}, null, {"v": 20.0}]`)
	metadata, _ := plainValue(t, each["metadata"]).(map[string]any)
	failures, _ := metadata["errors"].([]any)
	if metadata["failed"] != 1.0 || len(failures) != 1 || failures[0].(map[string]any)["index"] != 2.0 {
		t.Errorf("metadata %v", metadata)
	}
	result = runSample(t, p, `{"tier": "iron", "items": []}`)
	wantValue(t, "slow", result.NodeResults["slow"], `{"lane": 2}`)
	if fast, _ := result.NodeResults["fast"].(map[string]any); fast["_skipped"] != true {
		t.Errorf("fast: %v", fast)
	}
}

// Its service is a Python class; as a module it runs.
func TestSample5(t *testing.T) {
	s := newSite(t, "  modules:\n    orders: {path: PUPPET, grants: [metrics.count, database.query], config: {output: {saved: A-1}}}\n  ports: {database: {adapter: memory}}\n")
	h := s.open(t)
	_, err := h.Load(t.Context(), sample(t, "s5"), host.LoadOptions{})
	wantError(t, err, kernel.CodePipeline, "class myapp.services.OrderService is an import path", "write module: name", "s5.yaml:")

	p := loadSample(t, h, sample(t, "s5", "{class: myapp.services.OrderService, config: {store: main_store}}", "{module: orders}",
		"main_store: {adapter: in_memory_memory}", "memory: {adapter: in_memory_memory}", "method: save_order", "method: pull",
		"llm: {adapter: mock_llm}", `llm: {adapter: mock_llm, config: {responses: ["INVOKE_TOOL: orders:pull()", "INVOKE_TOOL: tool_end(decision='ship')"]}}`))
	result := runSample(t, p, `{"order_id": "A-1"}`)
	wantValue(t, "save", result.NodeResults["save"], `{"saved": "A-1"}`)
	wantValue(t, "order_agent", result.NodeResults["order_agent"], `{"decision": "ship"}`)
	if result.Usage.ToolCalls != 2 || result.Usage.LLMCalls != 2 {
		t.Errorf("used %+v", result.Usage)
	}
}

func TestSample6(t *testing.T) {
	h := bare(t, host.Options{})
	file := sample(t, "s6")
	wantValue(t, "m_out", runSample(t, loadSample(t, h, file), `{"count": 21}`).NodeResults["m_out"], `{"v": 42}`)
	if _, err := h.Load(t.Context(), file, host.LoadOptions{Environment: "dev"}); err != nil {
		t.Error(err)
	}
	_, err := h.Load(t.Context(), file, host.LoadOptions{Environment: "prod"})
	wantError(t, err, kernel.CodePipeline, "there is no environment prod", "the file has dev")
}

// Its handler is Python; with one of the program's it follows tickets.
func TestSample7(t *testing.T) {
	var told []kernel.Value
	h := bare(t, host.Options{Functions: map[string]host.Function{"hooks.audit": func(_ context.Context, call *kernel.NodeCall) (kernel.Value, error) {
		told = append(told, call.Input)
		return nil, nil
	}}})
	_, err := h.LoadSystem(t.Context(), sample(t, "s7"), host.LoadOptions{})
	wantError(t, err, kernel.CodePipeline, "myapp.hooks.audit is no module's export", "s7.yaml:")

	s, err := h.LoadSystem(t.Context(), sample(t, "s7", "myapp.hooks.audit", "hooks.audit"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	move := func(to string, payload map[string]any) (*host.Result, error) {
		return s.Transition(t.Context(), host.Move{Entity: "ticket", ID: "T-1", To: to, Payload: payload}, host.RunOptions{})
	}
	if _, err := move("CLOSED", map[string]any{"ok": false, "summary": "x"}); err == nil {
		t.Error("the guard lets it pass")
	}
	result, err := move("INVESTIGATING", nil)
	if err != nil {
		t.Fatal(err)
	}
	wantValue(t, "seen", result.NodeResults["seen"], `{"ticket": "T-1", "came": "OPEN"}`)
	if _, err := move("CLOSED", map[string]any{"summary": "x"}); err == nil {
		t.Error("a transition that the machine does not have")
	}
	if _, err := move("RESOLVED", nil); err != nil {
		t.Error(err)
	}
	if _, err := move("CLOSED", nil); err == nil || !strings.Contains(err.Error(), "summary") {
		t.Errorf("without what the state requires: %v", err)
	}
	if _, err := move("CLOSED", map[string]any{"summary": "done"}); err != nil {
		t.Error(err)
	}
	if result, err := move("INVESTIGATING", nil); err != nil || result == nil { // it was forgotten, so that it begins anew
		t.Errorf("a ticket that was collected: %v", err)
	}
	if len(told) != 4 {
		t.Errorf("the handler was told %d times: %v", len(told), told)
	}
}

func TestSample8(t *testing.T) {
	t.Setenv("SERVICE_NAME", "greeter")
	p := loadSample(t, bare(t, host.Options{}), sample(t, "s8"))
	if p.Name != "greeter" || p.Concurrency != 4 || p.NodeTimeout != 20*time.Second || p.Timeout != 5*time.Minute || *p.Limits.LLMCalls != 50 || p.Caps.Allows(kernel.CapSpawn) {
		t.Errorf("read as %+v", p.Pipeline)
	}
	result := runSample(t, p, `{"name": "Ann"}`)
	wantValue(t, "results", result.NodeResults, `{"ask": "first", "length": {"n": 5}}`)
}
