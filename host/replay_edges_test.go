package host_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

// TestReplayTouchesNothing: a run that is done again leaves the folders of the program alone.
func TestReplayTouchesNothing(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	opts := host.Options{Journal: d.journals.Open("replay"), State: t.TempDir(), RecordCases: t.TempDir()}
	r, err := host.OpenReplayer(t.Context(), cfg, opts, host.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := r.Run(t.Context(), was.RunID); err != nil || !again.Same {
		t.Fatalf("%+v %v", again, err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{opts.State, opts.RecordCases} {
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Error(files, err)
		}
	}
}

// rules are Rego whose decision about an action is that of the site's policy, and else allows.
func rules(action, decision string) string {
	return `package hexdag.authz

# METADATA
# entrypoint: true
decision := ` + decision + ` if input.action.name == "` + action + `"

decision := {"effect": "allow", "reasons": []} if input.action.name != "` + action + `"
`
}

// TestReplayPolicyEach: other rules are asked whatever the run asked, and what they say of it holds.
func TestReplayPolicyEach(t *testing.T) {
	const config = `  ports:
    governance: {adapter: abac, config: {rules: [{id: all, effect: allow, actions: ["**"]}, {id: asked, effect: approve, actions: [ledger.approved]}]}}
`
	d := newDurable(t, config)
	h := d.host(t, "first", &ledger{}, d.journals)
	ask := `{kind: service_call_node, metadata: {name: ask}, dependencies: [], spec: {service: governance, method: authorize, input_mapping: {action: "'refund'"}}}`
	add := `{kind: service_call_node, metadata: {name: add}, dependencies: [ask], spec: {service: ledger, method: add, input_mapping: {item: "'x'"}}}`
	was := d.load(t, h, ask, add).Run(t.Context(), nil, host.RunOptions{Durable: true})
	if was.Status != engine.Completed {
		t.Fatal(was.Err)
	}
	for action, tc := range map[string]struct {
		decision string
		is       engine.Status
		nodes    string
		told     string
	}{
		"nothing":      {`{"effect": "allow", "reasons": []}`, engine.Completed, "", ""},
		"refund":       {`{"effect": "deny", "reasons": [{"id": "no", "msg": "no"}]}`, engine.Completed, "ask", "governance decides otherwise about refund"},
		"pipeline.run": {`{"effect": "deny", "reasons": [{"id": "no", "msg": "no"}]}`, engine.Denied, "add ask", "governance decides otherwise about pipeline.run"},
		"ledger.add":   {`{"effect": "allow", "reasons": [], "obligations": [{"type": "approval"}]}`, engine.Suspended, "add", "governance decides otherwise about ledger.add"},
	} {
		d.policy(t, rules(action, tc.decision), `{}`)
		r, err := d.replayer(t, host.ReplayOptions{Policies: []string{d.path("policies")}}).Run(t.Context(), was.RunID)
		if err != nil {
			t.Fatal(action, err)
		}
		if r.Is != tc.is || nodesOf(r) != tc.nodes {
			t.Errorf("%s: %s %q %+v", action, r.Is, nodesOf(r), r)
		}
		if tc.told == "" && len(r.Differences)+len(r.Nodes) == 0 {
			continue
		}
		if len(r.Differences) != 1 || r.Differences[0].What != tc.told {
			t.Errorf("%s: %+v", action, r.Differences)
		}
	}
}

// TestReplayApproval: rules that need the approvals which the run's needed have what came of these.
func TestReplayApproval(t *testing.T) {
	d := newDurable(t, "  principal: ada\n  ports:\n    governance: "+approving+"\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h, `{kind: service_call_node, metadata: {name: store}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: "'x'", value: "1"}}}`)
	was := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
	if was.Status != engine.Suspended {
		t.Fatal(was.Status, was.Err)
	}
	again := func() {
		t.Helper()
		d.policy(t, rules("artifacts.store", `{"effect": "approve", "reasons": []}`), `{}`)
		r, err := d.replayer(t, host.ReplayOptions{Policies: []string{d.path("policies")}}).Run(t.Context(), was.RunID)
		if err != nil {
			t.Fatal(err)
		}
		if r.Is != r.Was || len(r.Differences)+len(r.Nodes) > 0 {
			t.Errorf("%+v", r)
		}
	}
	again()
	pending, err := h.Approvals().List(t.Context(), host.ApprovalPending)
	if err != nil || len(pending) != 1 {
		t.Fatal(pending, err)
	}
	if _, err := h.Approvals().Answer(t.Context(), pending[0].ID, "bob", true, ""); err != nil {
		t.Fatal(err)
	}
	if results, err := h.Signal(t.Context(), kernel.ApprovalKey+pending[0].ID, nil, host.RunOptions{}); err != nil || results[0].Status != engine.Completed {
		t.Fatal(results, err)
	}
	again()
}

// TestReplayHostile: a journal that somebody else has written is refused, whatever it says.
func TestReplayHostile(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	whole := d.entries(t, was.RunID)
	for name, change := range map[string]func(*journal.Entry) bool{
		"an event that is none": func(e *journal.Entry) bool { e.Event = nil; return e.Kind == journal.Told },
		"a stop without an event": func(e *journal.Entry) bool {
			e.Event = nil
			e.Status = "cancelled"
			return e.Kind == journal.Told || e.Kind == journal.End
		},
		"a beginning of nothing":  func(e *journal.Entry) bool { e.Head = nil; return e.Kind == journal.Begin },
		"no decision":             func(e *journal.Entry) bool { e.Decided = nil; return e.Kind == journal.Decision },
		"failed without an error": func(e *journal.Entry) bool { e.State = journal.Failed; return e.Kind == journal.Done },
		"another kind":            func(e *journal.Entry) bool { e.Kind = "other"; return true },
		"a run that is a path": func(e *journal.Entry) bool {
			if e.Kind == journal.Begin {
				head := *e.Head
				head.Run, e.Head = "../../outside", &head
			}
			return e.Kind == journal.Begin
		},
		"a version that is a path": func(e *journal.Entry) bool {
			if e.Kind == journal.Begin {
				head := *e.Head
				head.Version, e.Head = "../../../../outside", &head
			}
			return e.Kind == journal.Begin
		},
	} {
		var list []*journal.Entry
		for _, e := range whole {
			changed := *e
			if !change(&changed) {
				changed = *e
			}
			list = append(list, &changed)
		}
		s := died(t, headOf(whole), list)
		store := s.Open("blobs")
		for file, digest := range whole[0].Head.Source {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.PutBlob(t.Context(), "default", digest, text); err != nil {
				t.Fatal(err)
			}
		}
		d.journals = s
		for _, replay := range []host.ReplayOptions{{}, {From: "add"}} {
			r, err := d.replayer(t, replay).Run(t.Context(), was.RunID)
			if err == nil && r.Same {
				t.Errorf("%s: it is the same", name)
			}
			if strings.Contains(name, "path") && kernel.CodeOf(err) != kernel.CodeJournal {
				t.Errorf("%s: %v", name, err)
			}
		}
		known := list[:len(list)-1]
		r, err := d.host(t, "second", &ledger{}, died(t, headOf(whole), known)).RecoverRun(t.Context(), was.RunID, host.RunOptions{})
		if strings.HasPrefix(name, "a run") && kernel.CodeOf(err) != kernel.CodeJournal {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && r.Result == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// binary is a hook in Go that replaces what a call answers by bytes that are no text.
type binary struct{ kernel.PortHook }

var noText = []byte{0xff, 0xfe, 0, 'x'}

func (binary) BeforePort(context.Context, *kernel.PortCall) (kernel.Verdict, error) {
	return kernel.Verdict{}, nil
}

func (binary) AfterPort(context.Context, *kernel.PortCall, *kernel.PortReply, error) (kernel.Verdict, error) {
	return kernel.Verdict{Action: kernel.Replace, Value: map[string]any{}, Body: noText, Reason: "r", Delay: 1500 * time.Microsecond}, nil
}

// TestRecordedVerdict: what a hook in Go decides is in a durable run what it is in any.
func TestRecordedVerdict(t *testing.T) {
	run := &kernel.RunContext{RunID: "r"}
	taken := &journal.Taken{}
	hook := journal.PortHook("b", binary{})
	want, _ := binary{}.AfterPort(t.Context(), nil, nil, nil)
	for _, tape := range []func() *journal.Tape{
		func() *journal.Tape { return journal.Record(run, taken) },
		func() *journal.Tape { return journal.Resume(run, &journal.Taken{}, taken.Entries()) },
	} {
		ctx := journal.WithLane(t.Context(), tape().Lane("n"))
		v, err := hook.AfterPort(ctx, nil, nil, nil)
		if err != nil || !bytes.Equal(v.Body, noText) || v.Delay != want.Delay || v.Reason != want.Reason || v.Action != want.Action {
			t.Errorf("%+v %v", v, err)
		}
	}
}

// TestRecoverStoppedModule: what a module did before its time was up counts, though it is not called again: the calls that follow have
// other keys, and the run has used what it used.
func TestRecoverStoppedModule(t *testing.T) {
	guest := journal.Guest{Module: "m", Point: "node_run"}
	up := &kernel.Error{Code: kernel.CodeTimeout, What: "the time is up"}
	calls := func(run *kernel.RunContext, tape *journal.Tape, model bool) string {
		lane := tape.Lane("n")
		ctx := journal.WithLane(kernel.WithRun(t.Context(), run), lane)
		var key string
		call := func(op string) {
			r := &journal.Request{Op: op, Args: map[string]any{}, Changes: true, Repeatable: true}
			_, _ = lane.Call(ctx, r, func(ctx context.Context) (*kernel.PortReply, error) {
				key = kernel.IdempotencyKeyFrom(ctx)
				if model {
					tape.Charged(ctx, kernel.Charge{Model: "x", Input: 3})
					run.Recharge(kernel.Charge{Model: "x", Input: 3})
				}
				return &kernel.PortReply{}, nil
			})
		}
		if err := lane.Enter(guest); err == nil {
			call("memory.set")
			_ = lane.Leave(guest, journal.Took{Fuel: 1}, "error", up)
		}
		model = false
		call("eventbus.publish")
		return key
	}
	was, taken := &kernel.RunContext{RunID: "r"}, &journal.Taken{}
	key := calls(was, journal.Record(was, taken), true)
	known := taken.Entries()
	is := &kernel.RunContext{RunID: "r"}
	if again := calls(is, journal.Resume(is, &journal.Taken{}, known[:len(known)-2]), true); again != key || key == "" {
		t.Errorf("%s, then %s", key, again)
	}
	if was.Used() != is.Used() || was.Used().InputTokens != 3 {
		t.Errorf("%+v, then %+v", was.Used(), is.Used())
	}
}

// TestReplayFromKept: what the nodes that are not done again had kept in the run is there for those that are.
func TestReplayFromKept(t *testing.T) {
	d := newDurable(t, "  ports: {}\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	was := d.load(t, h,
		`{kind: service_call_node, metadata: {name: kept}, dependencies: [], spec: {service: pipeline_memory, method: set, input_mapping: {key: "'k'", value: "'v'"}}}`,
		`{kind: composite_node, metadata: {name: loop}, dependencies: [kept], spec: {mode: times, count: 2, body: [{kind: service_call_node, metadata: {name: set}, spec: {service: pipeline_memory, method: set, input_mapping: {key: "'n'", value: "$index"}}}]}}`,
		`{kind: service_call_node, metadata: {name: again}, dependencies: [loop], spec: {service: pipeline_memory, method: snapshot}}`,
	).Run(t.Context(), nil, host.RunOptions{Durable: true})
	if was.Status != engine.Completed {
		t.Fatal(was.Err)
	}
	r, err := d.replayer(t, host.ReplayOptions{From: "again"}).Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Is != engine.Completed || len(r.Nodes)+len(r.Differences) > 0 || r.Result.Usage != was.Usage {
		t.Errorf("%+v %+v, not %+v", r, r.Result.Usage, was.Usage)
	}
}

// TestReplayEnding: a run that comes to something else is not counted among those that are as they were.
func TestReplayEnding(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	whole := d.entries(t, was.RunID)
	for name, change := range map[string]func(*journal.Entry){
		"":           func(*journal.Entry) {},
		"its output": func(e *journal.Entry) { e.Value = map[string]any{"other": true} },
		"its error":  func(e *journal.Entry) { e.Failed = &kernel.Error{Code: kernel.CodeLimit, What: "no"} },
	} {
		list := slices.Clone(whole)
		end := *list[len(list)-1]
		change(&end)
		list[len(list)-1] = &end
		d.journals = died(t, headOf(whole), list)
		impact, err := d.replayer(t, host.ReplayOptions{}).Impact(t.Context(), []*driver.Run{{ID: was.RunID}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (impact.Same == 1) != (name == "") {
			t.Errorf("%s: %+v", name, impact)
		}
	}
}

// TestReplayCached: a node whose answer was taken from the cache has it, whatever else is other.
func TestReplayCached(t *testing.T) {
	d := newDurable(t, "  ports: {artifacts: {adapter: memory}, llm: {adapter: mock, config: {responses: [\"one\"]}}}\n")
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h, `{kind: llm_node, metadata: {name: ask}, dependencies: [], spec: {cache: true, human_message: "how many?"}}`,
		`{kind: expression_node, metadata: {name: end}, dependencies: [ask], spec: {expressions: {n: "ask"}}}`)
	d.policy(t, rules("nothing", `{"effect": "allow", "reasons": []}`), `{}`)
	for cached := range 2 {
		was := p.Run(t.Context(), nil, host.RunOptions{Durable: true})
		if was.Status != engine.Completed || len(was.Cached) != cached {
			t.Fatal(was.Err, was.Cached)
		}
		for _, replay := range []host.ReplayOptions{{}, {Policies: []string{d.path("policies")}}, {From: "ask"}} {
			r, err := d.replayer(t, replay).Run(t.Context(), was.RunID)
			if err != nil {
				t.Fatal(err)
			}
			if r.Is != engine.Completed || len(r.Nodes)+len(r.Differences) > 0 {
				t.Errorf("%d, %+v: %+v", cached, replay, r)
			}
		}
	}
}

// TestReplayMany: runs of many sets of modules are done again in bounded room.
func TestReplayMany(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d := newDurable(t, "  ports: {}\n")
	was := d.load(t, d.host(t, "first", &ledger{}, d.journals), `{kind: expression_node, metadata: {name: a}, dependencies: [], spec: {expressions: {n: "1"}}}`).Run(t.Context(), nil, host.RunOptions{Durable: true})
	whole := d.entries(t, was.RunID)
	var runs [][]*journal.Entry
	for i := range 20 {
		first, head := *whole[0], *whole[0].Head
		head.Run, head.Modules, first.Head = fmt.Sprint("r", i), map[string]string{fmt.Sprint("m", i): "gone"}, &head
		runs = append(runs, append([]*journal.Entry{&first}, whole[1:]...))
	}
	d.journals = diedTogether(t, runs)
	r := d.replayer(t, host.ReplayOptions{})
	for _, entries := range runs {
		if _, err := r.Run(t.Context(), entries[0].Head.Run); err != nil {
			t.Fatal(err)
		}
	}
	states, err := filepath.Glob(filepath.Join(os.TempDir(), "hexdag-replay-*", "*"))
	if err != nil || len(states) == 0 || len(states) > 8 {
		t.Error(len(states), err)
	}
}
