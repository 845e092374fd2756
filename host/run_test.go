package host_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// puppets are the puppet three times: one does what it may, one what it did not
// request, one what it was not granted.
const puppets = `  principal: ann
  tenant: acme
  ports: {database: {adapter: memory, config: {tables: {orders: [{id: A-1}]}}}}
  modules:
    good: {path: PUPPET, grants: [{metrics.count: {name: good}}, database.query], config: {op: metrics.count, args: {name: good}}}
    greedy: {path: PUPPET, grants: [{metrics.count: {name: good}}, database.query], config: {op: database.query, args: {table: customers}}}
    bad: {path: PUPPET, grants: [{metrics.count: {name: good}}, database.query], config: {op: metrics.count, args: {name: bad}}}
    rude: {path: PUPPET, grants: [metrics.count, database.query], config: {verdict: 3, output: {reason: "go \e[31maway\nor else"}}}
    stuck: {path: PUPPET, grants: [metrics.count, database.query], config: {loop: true}, limits: {deadline: 30s}}
`

// line is the gist of a record.
func line(r kernel.AuditRecord) string {
	return strings.Join([]string{r.Kind, strings.Join(r.Chain, ">"), r.Action, r.Resource, string(r.Effect), r.Result}, " ")
}

func TestAuditRecords(t *testing.T) {
	s := newSite(t, puppets)
	h := s.open(t)
	for _, test := range []struct {
		name   string
		nodes  []string
		status engine.Status
		want   []string // between the run's start and end
	}{
		{"granted", []string{pull("good")}, engine.Completed, []string{
			"decision  metrics.count metrics:good allow ok", "call ann>module:good metrics.count good allow "}},
		{"not requested", []string{pull("greedy")}, engine.Failed, []string{"call ann>module:greedy database.query customers deny denied"}},
		{"not granted", []string{pull("bad")}, engine.Failed, []string{"call ann>module:bad metrics.count bad deny denied"}},
		{"the pipeline's own", []string{store}, engine.Completed, []string{
			"decision  artifacts.store artifacts:x allow ok", "call ann artifacts.store x allow "}},
		{"a module that refuses", []string{pull("rude")}, engine.Denied, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(s.records(t))
			res := s.load(t, h, test.nodes...).Run(t.Context(), map[string]any{}, host.RunOptions{})
			if res.Status != test.status {
				t.Errorf("status %s, want %s: %v", res.Status, test.status, res.Err)
			}
			records := s.records(t)[before:]
			got := make([]string, len(records))
			for i, r := range records {
				got[i] = line(r)
				if r.Kind == "decision" { // the chain says it again
					got[i] = strings.Replace(got[i], strings.Join(r.Chain, ">"), "", 1)
				}
				if _, err := time.Parse(time.RFC3339Nano, r.Time); err != nil || r.RunID != res.RunID || r.Tenant != "acme" || r.Principal != "ann" {
					t.Errorf("record %+v of run %s: %v", r, res.RunID, err)
				}
			}
			want := slices.Concat([]string{"decision  pipeline.run pipeline:test allow ok", "run  pipeline.run test allow "}, test.want, []string{"run  pipeline.end test  " + string(test.status)})
			if !slices.Equal(got, want) {
				t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestAuditRecordsModules(t *testing.T) {
	s := newSite(t, puppets)
	h := s.open(t)
	records := s.records(t)
	if len(records) != len(h.Modules()) || len(records) != 5 {
		t.Fatalf("%d records of %d modules", len(records), len(h.Modules()))
	}
	for i, m := range h.Modules() {
		r := records[i]
		if r.Kind != "module" || r.Action != "module.load" || r.Resource != m.Name() || r.Digest != m.Digest() || !strings.Contains(r.Detail, "metrics.count") || r.Principal != "ann" {
			t.Errorf("record %+v", r)
		}
	}
}

// The log that a host leaves can be verified, and a changed byte is found.
func TestVerifyAudit(t *testing.T) {
	s := newSite(t, "  tenant: acme\n")
	h := s.open(t)
	s.load(t, h, store).Run(t.Context(), nil, host.RunOptions{})
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	report, err := host.VerifyAudit(t.Context(), h.AuditDir(), host.AuditOptions{})
	if err != nil || report.Records != 5 || report.Effects[kernel.Allow] != 4 {
		t.Errorf("report %+v, %v", report, err)
	}
	records := strings.Replace(readFile(t, s.path(".hexdag/audit/records.jsonl")), "acme", "acne", 1)
	s.write(t, ".hexdag/audit/records.jsonl", records)
	_, err = host.VerifyAudit(t.Context(), h.AuditDir(), host.AuditOptions{})
	wantError(t, err, kernel.CodeAuditTampered, "records.jsonl:1")
	_, err = s.new(t)
	wantError(t, err, kernel.CodeAuditTampered, "records.jsonl:1")
}

func TestRunOptions(t *testing.T) {
	s := newSite(t, puppets)
	var rec host.Recorder
	res := s.load(t, s.open(t), pull("good"), store).Run(t.Context(), map[string]any{"a": 1.5}, host.RunOptions{Observer: rec.Observe, Principal: "bob", Parent: &kernel.RunContext{RunID: "p-1"}})
	if res.Err != nil || res.Counters["good"] != 1 || res.Usage.PortCalls != 2 || len(res.NodeResults) != 2 {
		t.Fatalf("result %+v", res)
	}
	if r := s.records(t); r[len(r)-1].Principal != "bob" {
		t.Errorf("the principal is %q", r[len(r)-1].Principal)
	}
	events := rec.Events()
	if first, last := events[0], events[len(events)-1]; first.Type != kernel.PipelineStarted || last.Type != kernel.PipelineCompleted || last.Status != "completed" || last.ParentRunID != "p-1" || last.RunID != res.RunID {
		t.Errorf("events from %+v to %+v", first, last)
	}
}

func TestRunRefusesWhatIsNoJSON(t *testing.T) {
	s := newSite(t, "  {}\n")
	res := s.load(t, s.open(t), store).Run(t.Context(), map[string]any{"f": func() {}}, host.RunOptions{})
	wantError(t, res.Err, kernel.CodeInput, "no JSON value")
	if res.Status != engine.Failed || res.Error == nil || res.NodeResults == nil || len(s.records(t)) != 0 {
		t.Errorf("result %+v", res)
	}
}

// What a guest says is escaped before anyone sees it.
func TestGuestTextIsEscaped(t *testing.T) {
	s := newSite(t, puppets)
	res := s.load(t, s.open(t), pull("rude")).Run(t.Context(), nil, host.RunOptions{})
	wantError(t, res.Err, kernel.CodeDenied, `go \x1b[31maway\nor else`, "module rude@", "node rude", "pipeline.yaml:5:")
}

func TestCancel(t *testing.T) {
	s := newSite(t, puppets)
	p := s.load(t, s.open(t), pull("stuck"), strings.Replace(store, "dependencies: []", "dependencies: [stuck]", 1))
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	var rec host.Recorder
	res := p.Run(ctx, nil, host.RunOptions{Observer: func(e *host.Event) {
		rec.Observe(e)
		if e.Type == kernel.NodeStarted {
			cancel()
		}
	}})
	wantError(t, res.Err, kernel.CodeCanceled)
	if res.Status != engine.Cancelled || !errors.Is(res.Err, context.Canceled) {
		t.Errorf("status %s: %v", res.Status, res.Err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a loop went on for %s", took)
	}
	for _, e := range rec.Events() {
		if e.Node == "x" {
			t.Errorf("a node ran after the end: %+v", e)
		}
	}
	if r := s.records(t); line(r[len(r)-1]) != "run  pipeline.end test  cancelled" {
		t.Errorf("the last record is %+v", r[len(r)-1])
	}
}

// A deadline of the module ends its call, not the host.
func TestModuleDeadline(t *testing.T) {
	s := newSite(t, strings.Replace(puppets, "30s", "50ms", 1))
	h := s.open(t)
	res := s.load(t, h, pull("stuck")).Run(t.Context(), nil, host.RunOptions{})
	wantError(t, res.Err, kernel.CodeTimeout, "module stuck@", "50ms")
	if res := s.load(t, h, pull("good")).Run(t.Context(), nil, host.RunOptions{}); res.Err != nil {
		t.Errorf("the next run: %v", res.Err)
	}
}

// Pipelines are loaded and run at once, also those with ports of their own.
func TestHostAtOnce(t *testing.T) {
	s := newSite(t, puppets)
	h := s.open(t)
	var all sync.WaitGroup
	for i := range 8 {
		name := fmt.Sprintf("p%d.yaml", i)
		s.write(t, name, "kind: Pipeline\nmetadata: {name: test}\nspec:\n"+
			"  ports: {llm: {adapter: mock, config: {responses: [answer]}}, artifacts: {adapter: memory}}\n"+
			"  nodes:\n    - "+pull("good")+"\n    - "+store+"\n    - {kind: llm_node, metadata: {name: l}, dependencies: [], spec: {human_message: hi}}\n")
		all.Go(func() {
			p, err := h.Load(t.Context(), s.path(name), host.LoadOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			for range 4 {
				if res := p.Run(t.Context(), nil, host.RunOptions{}); res.Err != nil || res.Counters["good"] != 1 {
					t.Errorf("result %+v", res)
				}
			}
		})
	}
	all.Wait()
	if got := h.Modules()[0].Stats(); got.Calls != 32 || got.HostCalls != 32 || got.Failures != 0 {
		t.Errorf("the module's figures %+v", got)
	}
}
