package host_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// replayed is a run done again, by what the site's configuration opens; it has to be as it was.
func (s site) replayed(t *testing.T, run string) *host.Replayed {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.OpenReplayer(t.Context(), cfg, host.Options{}, host.ReplayOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.WithoutCancel(t.Context()))
	again, err := r.Run(t.Context(), run)
	if err != nil || !again.Same {
		t.Fatalf("%+v, %v", again, err)
	}
	return again
}

// replayer opens what does the site's runs again.
func (d *durable) replayer(t *testing.T, replay host.ReplayOptions) *host.Replayer {
	t.Helper()
	cfg, err := host.LoadConfig(d.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := host.OpenReplayer(t.Context(), cfg, host.Options{Journal: d.journals.Open("replay"), Functions: map[string]host.Function{"work": d.fn.work}}, replay)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(t.Context()) })
	return r
}

// TestReplay: a run is done again as it was, to the bit, and calls nothing.
func TestReplay(t *testing.T) {
	d := newDurable(t, durableConfig)
	l := &ledger{}
	h := d.host(t, "first", l, d.journals)
	p := d.load(t, h, everything...)
	r := d.replayer(t, host.ReplayOptions{})
	for range 20 {
		whole := p.Run(t.Context(), map[string]any{"id": "1"}, host.RunOptions{Durable: true})
		if whole.Status != engine.Completed {
			t.Fatal(whole.Err)
		}
		added, worked := len(l.items()), d.fn.times.Load()
		again, err := r.Run(t.Context(), whole.RunID)
		if err != nil {
			t.Fatal(err)
		}
		if !again.Same || again.FuelIs != again.FuelWas || again.FuelWas == 0 {
			t.Fatalf("%+v", again)
		}
		if len(l.items()) != added || d.fn.times.Load() != worked {
			t.Fatal("something was called")
		}
	}
}

const whatIfConfig = `  modules:
    box: {path: MODULE, config: {tools: {node: {calls: [{op: memory.get, head: {key: k}}]}}, output: {from: puppet}}, grants: [artifacts.store, artifacts.list, memory.get, memory.set, {metrics.count: {name: [good, bad]}}, metrics.count, pipeline_memory.get, pipeline_memory.set, {database.query: {table: orders}}]}
  ports:
    llm: {adapter: mock, config: {responses: ["one"]}}
    database: {adapter: memory}
`

// whatIf records a run with a module.
func whatIf(t *testing.T, module string) (*durable, *host.Result) {
	t.Helper()
	d := newDurable(t, strings.ReplaceAll(whatIfConfig, "MODULE", module))
	h := d.host(t, "first", &ledger{}, d.journals)
	p := d.load(t, h,
		`{kind: llm_node, metadata: {name: ask}, dependencies: [], spec: {human_message: "how many?"}}`,
		`{kind: function_node, metadata: {name: box}, dependencies: [ask], spec: {fn: box}}`,
		`{kind: service_call_node, metadata: {name: add}, dependencies: [box], spec: {service: ledger, method: add, input_mapping: {item: "'fixed'"}}}`,
		`{kind: data_node, metadata: {name: last}, dependencies: [box], spec: {output: {said: "{{ box }}"}}}`)
	r := p.Run(t.Context(), map[string]any{}, host.RunOptions{Durable: true})
	if r.Status != engine.Completed {
		t.Fatal(r.Err)
	}
	return d, r
}

func nodesOf(r *host.Replayed) string {
	var names []string
	for _, n := range r.Nodes {
		names = append(names, n.Node)
	}
	return strings.Join(names, " ")
}

// TestReplayModule: another module is run on what was recorded. What it does not ask for any more is no harm, what it asks for
// that there is not is told, and not done.
func TestReplayModule(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	r, err := d.replayer(t, host.ReplayOptions{Modules: map[string]string{"box": puppet(t)}}).Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Same || nodesOf(r) != "box last" || r.Is != engine.Completed || len(r.Differences) > 0 || r.Nodes[0].FuelIs == r.Nodes[0].FuelWas {
		t.Errorf("%+v", r)
	}
	d, was = whatIf(t, puppet(t))
	r, err = d.replayer(t, host.ReplayOptions{Modules: map[string]string{"box": toolbox(t)}}).Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Differences) != 1 || !r.Differences[0].Unrecorded || r.Differences[0].Is != "memory.get" || r.Differences[0].Lane != "box" {
		t.Errorf("%+v", r)
	}
	wantError(t, r.Result.Err, kernel.CodeFailed, "memory.get was not called")
}

// TestReplayFrom: what a node does not depend on is as it was, and not done again.
func TestReplayFrom(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	var told []string
	r, err := d.replayer(t, host.ReplayOptions{From: "add", Observer: func(e *host.Event) {
		if e.Type == kernel.NodeStarted {
			told = append(told, e.Node)
		}
	}}).Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, []string{"add"}) || len(r.Nodes) != 0 || r.Is != engine.Completed || !maps.EqualFunc(r.Result.NodeResults, was.NodeResults, journal.Equal) {
		t.Errorf("%q %+v", told, r)
	}
	_, err = d.replayer(t, host.ReplayOptions{From: "nobody"}).Run(t.Context(), was.RunID)
	wantError(t, err, kernel.CodeInput, `there is no node nobody`, was.RunID)
}

// TestReplayPolicy: other rules are asked about the calls of the recording.
func TestReplayPolicy(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	d.policy(t, `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": "deny", "reasons": [{"id": "no.ledger", "msg": "not here"}]} if input.action.name == "ledger.add"

decision := {"effect": "allow", "reasons": []} if input.action.name != "ledger.add"
`, `{}`)
	r, err := d.replayer(t, host.ReplayOptions{Policies: []string{d.path("policies")}}).Run(t.Context(), was.RunID)
	if err != nil {
		t.Fatal(err)
	}
	if r.Is != engine.Denied || nodesOf(r) != "add" && nodesOf(r) != "add last" || len(r.Differences) != 1 || r.Differences[0].Is != `deny by no.ledger` || !strings.Contains(r.Differences[0].What, "ledger.add") {
		t.Errorf("%+v", r)
	}
}

// TestReplayNotices: whatever is other than it was, is noticed.
func TestReplayNotices(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	entries := d.entries(t, was.RunID)
	of := &driver.Run{ID: was.RunID, Tenant: "default", Pipeline: "test", Version: entries[0].Head.Version, Begun: entries[0].Time}
	blobs := d.journals
	for i, e := range entries {
		changed := *e
		switch e.Kind {
		case journal.Done:
			changed.Value = "other"
		case journal.Reply:
			changed.Value = map[string]any{"content": "two", "found": true, "value": "two"}
		case journal.Call:
			changed.Op = "other.op"
		case journal.Leave, journal.Ran:
			changed.Fuel++
		case journal.Enter:
			changed.Point = "node_after"
		case journal.Decision:
			changed.Decided = &kernel.Decision{Effect: kernel.Forbid}
			changed.Failed = &kernel.Error{Code: kernel.CodeDenied, What: "no"}
		case journal.Told:
			other := *e.Event
			other.Node = "other"
			changed.Event = &other
		case journal.End:
			changed.Status = "failed"
		default:
			continue
		}
		list := slices.Clone(entries)
		list[i] = &changed
		d.journals = died(t, of, list)
		r, err := d.replayer(t, host.ReplayOptions{}).Run(t.Context(), was.RunID)
		if err != nil {
			t.Fatal(err)
		}
		if r.Same {
			t.Errorf("entry %d, %s of %s: nobody notices", e.Seq, e.Brief(), e.Lane)
		}
	}
	d.journals = blobs
}

// TestReplayBadInput: what cannot be done again says why.
func TestReplayBadInput(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	r := d.replayer(t, host.ReplayOptions{})
	_, err := r.Run(t.Context(), "none")
	wantError(t, err, kernel.CodeNotFound, `there is no journal of the run none`)
	// The module has changed, and the journal does not hold it.
	entries := d.entries(t, was.RunID)
	head := *entries[0].Head
	head.Modules = map[string]string{"box": "sha256:" + strings.Repeat("0", 64)}
	first := *entries[0]
	first.Head = &head
	entries[0] = &first
	of := &driver.Run{ID: was.RunID, Tenant: "default", Pipeline: "test", Version: head.Version, Begun: first.Time}
	d.journals = died(t, of, entries)
	_, err = d.replayer(t, host.ReplayOptions{}).Run(t.Context(), was.RunID)
	wantError(t, err, kernel.CodeModuleNotFound, `module box is not there as the run had it`, "--module box=FILE", was.RunID)
	_, err = d.replayer(t, host.ReplayOptions{Modules: map[string]string{"nobody": puppet(t)}}).Run(t.Context(), was.RunID)
	wantError(t, err, kernel.CodeModuleNotFound)
}

// TestReplayThousand: a thousand runs are asked what other rules would have made of them, and the answer is summed up.
func TestReplayThousand(t *testing.T) {
	runs := 1000
	if testing.Short() || testenv.Race {
		runs = 50
	}
	d := newDurable(t, "  ports: {}\n")
	l := &ledger{}
	h := d.host(t, "first", l, d.journals)
	p := d.load(t, h,
		`{kind: expression_node, metadata: {name: item}, dependencies: [], spec: {expressions: {id: "$input.id"}}}`,
		`{kind: service_call_node, metadata: {name: add}, dependencies: [item], spec: {service: ledger, method: add, input_mapping: {item: item.id}}}`)
	for i := range runs {
		if r := p.Run(t.Context(), map[string]any{"id": fmt.Sprint(i % 10)}, host.RunOptions{Durable: true}); r.Status != engine.Completed {
			t.Fatal(r.Err)
		}
	}
	d.policy(t, `package hexdag.authz

# METADATA
# entrypoint: true
decision := {"effect": effect, "reasons": [{"id": "sevens", "msg": "m"}]}

default effect := "allow"

effect := "deny" if input.action.args.item == "7"
`, `{}`)
	r := d.replayer(t, host.ReplayOptions{Policies: []string{d.path("policies")}})
	all, err := r.Runs(t.Context(), driver.Query{})
	if err != nil {
		t.Fatal(err)
	}
	impact, err := r.Impact(t.Context(), all, nil)
	if err != nil {
		t.Fatal(err)
	}
	if impact.Runs != runs || impact.Same != runs-runs/10 || impact.Denied() != runs/10 || len(impact.Unreplayed) > 0 || len(impact.Decisions) != 1 || impact.Decisions[0].Count != runs/10 || impact.Decisions[0].Is != "deny by sevens" {
		t.Errorf("%+v", impact)
	}
	if len(l.items()) != runs {
		t.Error("something was called")
	}
}
