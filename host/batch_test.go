package host_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

const batchConfig = `  ports:
    llm: {adapter: mock, config: {rules: [{match: "^ok", reply: certainly}]}}
    governance: {adapter: rego, config: {dirs: [policy]}}
    database: {adapter: memory}
  modules:
    good: {path: PUPPET, grants: [metrics.count, database.query], config: {op: metrics.count, args: {name: good}}}
`

const batchPolicy = `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": "deny", "reasons": [{"id": "evil", "msg": "no evil"}]} if {
	input.resource.id == "evil"
} else := {"effect": "approve", "reasons": [{"id": "big", "msg": sprintf("%v is big", [input.action.args.size])}]} if {
	input.action.args.size > 5
} else := {"effect": "allow", "reasons": [{"id": "rest", "msg": "why not"}]}
`

// newBatch is a pipeline that fails where say is not ok, is denied where name is
// evil, and asks whether it may pay.
func newBatch(t *testing.T) *host.Pipeline {
	t.Helper()
	s := newSite(t, batchConfig)
	s.write(t, "policy/authz.rego", batchPolicy)
	return s.load(t, s.open(t),
		pull("good"),
		`{kind: llm_node, metadata: {name: say}, dependencies: [], spec: {human_message: "{{ say }}"}}`,
		`{kind: service_call_node, metadata: {name: keep}, dependencies: [say], spec: {service: artifacts, method: store, input_mapping: {name: $input.name, value: say}}}`,
		`{kind: service_call_node, metadata: {name: ask}, dependencies: [keep], spec: {service: governance, method: authorize, input_mapping: {action: "'pay'", args: {size: $input.size}}}}`)
}

const batchLines = "\ufeff{\"id\": \"marked\", \"say\": \"ok\", \"name\": \"a\", \"size\": 1}\n" + // line 1
	"{\"id\": \"small\", \"say\": \"ok\", \"name\": \"b\", \"size\": 1}\r\n" +
	"\n \t \r\n" + // 3 and 4
	"  {\"id\": \"big\", \"say\": \"ok again\", \"name\": \"c\", \"size\": 9}  \n" +
	"{\"id\": \"bigger\", \"say\": \"ok\", \"name\": \"d\", \"size\": 10}\n" +
	"{\"id\": \"half\", \"say\": \"o\n" + // 7
	"[1, 2]\n" +
	"null\n" +
	"plain text \x1b[31m\n" + // 10
	"{\"id\": \"x\", \"id\": \"y\"}\n" +
	"{\"id\": \"bad\x80\"}\n" +
	"{\"id\": \"mute\", \"say\": \"no\", \"name\": \"e\", \"size\": 1}\n" + // 13
	"{\"id\": \"thief\", \"say\": \"ok\", \"name\": \"evil\", \"size\": 1}\n" +
	"{\"id\": \"\\u001b[31mred\", \"say\": \"ok\", \"name\": \"evil\", \"size\": 1}\n" +
	"{\"say\": \"ok\", \"name\": \"f\", \"size\": 2}" // 16, without an end

func TestRunEach(t *testing.T) {
	report, err := newBatch(t).RunEach(t.Context(), strings.NewReader(batchLines), host.BatchOptions{File: "lines.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	if report.Lines != 14 || report.Completed != 4 || report.Denied != 2 || report.Failed != 8 || report.Duration <= 0 {
		t.Errorf("%d lines: %d completed, %d denied, %d failed, in %s", report.Lines, report.Completed, report.Denied, report.Failed, report.Duration)
	}
	got := make([]string, len(report.Problems))
	for i, p := range report.Problems {
		got[i] = fmt.Sprintf("%d %s %s", p.Line, p.Label, p.Error.Code)
		if p.Error.Code == kernel.CodeInput && (p.RunID != "" || p.Error.Where.String() != fmt.Sprintf("lines.jsonl:%d", p.Line) || p.Error.Why == "" || p.Error.Fix == "") {
			t.Errorf("problem %+v: %v", p, p.Error)
		}
		if p.Error.Code != kernel.CodeInput && p.RunID == "" {
			t.Errorf("problem %+v is of no run", p)
		}
		if strings.Contains(p.Error.Error(), "\x1b") {
			t.Errorf("an escape sequence of the line's: %q", p.Error)
		}
	}
	want := []string{"1  input.invalid", "7  input.invalid", "8  input.invalid", "9  input.invalid", "10  input.invalid", "11  input.invalid", "12  input.invalid",
		"13 mute failed", "14 thief denied", `15 \x1b[31mred denied`}
	if !slices.Equal(got, want) {
		t.Errorf("problems\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	decisions := []host.Decision{
		{Action: "pay", Effect: "allow", Rules: "rest", Example: "why not", Count: 2},
		{Action: "pay", Effect: "approve", Rules: "big", Example: "10 is big", Count: 2},
	}
	if !slices.Equal(report.Decisions, decisions) {
		t.Errorf("decisions %+v", report.Decisions)
	}
	// Seven lines ran; one of them had no answer, two were denied behind it.
	if report.Counters["good"] != 7 || report.Usage.LLMCalls != 6 || report.Usage.PortCalls != 7+7+6+4 || report.Usage.InputTokens == 0 {
		t.Errorf("counters %v, usage %+v", report.Counters, report.Usage)
	}
	if m := report.Modules; len(m) != 1 || m[0].Name != "good" || m[0].Calls != 7 || m[0].HostCalls != 7 || !strings.HasPrefix(m[0].Digest, "sha256:") {
		t.Errorf("modules %+v", m)
	}
	if report.Stores["artifacts"] == "" || report.AuditDir == "" {
		t.Errorf("the report does not say where things lie: %+v", report)
	}
}

// The figures follow from the lines, whatever runs beside what.
func TestRunEachIsDeterministic(t *testing.T) {
	type figures struct {
		Completed, Failed, Denied int
		Problems                  []string
		Decisions                 []host.Decision
		Usage                     kernel.UsageSnapshot
		Counters                  map[string]int64
	}
	var first *figures
	lines := strings.Repeat(batchLines+"\n", 3)
	for _, concurrency := range []int{1, 1, 4, 16} {
		r, err := newBatch(t).RunEach(t.Context(), strings.NewReader(lines), host.BatchOptions{Concurrency: concurrency})
		if err != nil {
			t.Fatal(err)
		}
		got := &figures{r.Completed, r.Failed, r.Denied, nil, r.Decisions, r.Usage, r.Counters}
		for _, p := range r.Problems {
			got.Problems = append(got.Problems, fmt.Sprint(p.Line, p.Label, p.Error.Code))
		}
		if first == nil {
			first = got
		}
		if !reflect.DeepEqual(got, first) {
			t.Errorf("with %d at once\n%+v\nwant\n%+v", concurrency, got, first)
		}
	}
}

// A line that is too long is a problem like any other.
func TestRunEachLongLine(t *testing.T) {
	line := func(id string, size int) string {
		return fmt.Sprintf(`{"id": %q, "say": "ok %s", "name": %q, "size": 1}`+"\n", id, strings.Repeat("x", size), id)
	}
	lines := line("a", 0) + line("b", 100_000) + line("c", 3<<20) + line("d", 0)
	report, err := newBatch(t).RunEach(t.Context(), strings.NewReader(lines), host.BatchOptions{File: "lines.jsonl"})
	if err != nil {
		t.Fatal("the lines behind it were given up: ", err)
	}
	if report.Lines != 4 || report.Completed != 3 || len(report.Problems) != 1 {
		t.Fatalf("report %+v", report)
	}
	wantError(t, report.Problems[0].Error, kernel.CodeInput, "lines.jsonl:3:", "1048576 bytes")
}

func TestRunEachInOrder(t *testing.T) {
	var got []string
	_, err := newBatch(t).RunEach(t.Context(), strings.NewReader(batchLines), host.BatchOptions{
		Concurrency: 1,
		Started:     func(l host.Line) { got = append(got, fmt.Sprint(l.Number, l.Label)) },
		Finished:    func(l host.Line, r *host.Result) { got = append(got, fmt.Sprint(l.Number, " ", r.Status)) },
	})
	want := []string{"1", "1 failed", "2small", "2 completed", "5big", "5 completed", "6bigger", "6 completed", "7", "7 failed", "8", "8 failed", "9", "9 failed", "10", "10 failed",
		"11", "11 failed", "12", "12 failed", "13mute", "13 failed", "14thief", "14 denied", `15\x1b[31mred`, "15 denied", "16", "16 completed"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n%q\nwant\n%q", err, got, want)
	}
}

func TestRunEachBoundsItself(t *testing.T) {
	p := newBatch(t)
	for _, concurrency := range []int{0, 2} {
		var now, most atomic.Int64
		_, err := p.RunEach(t.Context(), strings.NewReader(strings.Repeat(`{"say": "ok", "name": "a", "size": 1}`+"\n", 20)), host.BatchOptions{
			Concurrency: concurrency,
			Started: func(host.Line) {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
			},
			Finished: func(host.Line, *host.Result) { now.Add(-1) },
		})
		if limit := int64(max(concurrency, 4*(1-concurrency))); err != nil || most.Load() > limit || most.Load() == 0 {
			t.Errorf("%d ran at once, want at most %d: %v", most.Load(), limit, err)
		}
	}
}

func TestRunEachCancel(t *testing.T) {
	p := newBatch(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	var once sync.Once
	endless := io.MultiReader(strings.NewReader(`{"say": "ok", "name": "a", "size": 1}`+"\n"), iotest.OneByteReader(strings.NewReader(strings.Repeat(`{"say": "ok", "name": "a", "size": 1}`+"\n", 2000))))
	report, err := p.RunEach(ctx, endless, host.BatchOptions{Finished: func(host.Line, *host.Result) {
		once.Do(func() { cancel(errors.New("that is enough")) })
	}})
	wantError(t, err, kernel.CodeCanceled, "that is enough")
	if report == nil || report.Completed == 0 || report.Lines > 1000 || report.Lines != report.Completed+report.Failed {
		t.Errorf("report %+v", report)
	}
	// Wherever it was, a run that was stopped is neither denied nor failed.
	for _, p := range report.Problems {
		wantError(t, p.Error, kernel.CodeCanceled)
	}
}

func TestRunEachReader(t *testing.T) {
	p := newBatch(t)
	report, err := p.RunEach(t.Context(), strings.NewReader(" \n\n"), host.BatchOptions{})
	if err != nil || report.Lines != 0 || report.Problems != nil {
		t.Errorf("of blank lines: %+v, %v", report, err)
	}
	broken := io.MultiReader(strings.NewReader(`{"say": "ok", "name": "a", "size": 1}`+"\n{"), iotest.ErrReader(errors.New("cable pulled")))
	report, err = p.RunEach(t.Context(), broken, host.BatchOptions{File: "tape"})
	wantError(t, err, kernel.CodeInput, "tape:2", "cable pulled")
	if report.Completed != 1 {
		t.Errorf("report %+v", report)
	}
}

// The statuses of the engine are those that a report counts.
func TestReportCountsCancelledAsFailed(t *testing.T) {
	p := newBatch(t)
	ctx, cancel := context.WithCancel(t.Context())
	var status engine.Status
	report, _ := p.RunEach(ctx, strings.NewReader(`{"say": "ok", "name": "a", "size": 1}`), host.BatchOptions{
		Started:  func(host.Line) { cancel() },
		Finished: func(_ host.Line, r *host.Result) { status = r.Status },
	})
	if status != engine.Cancelled || report.Failed != 1 {
		t.Errorf("status %s, report %+v", status, report)
	}
}
