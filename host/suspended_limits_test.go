package host_test

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// twice waits between each of three calls of a model, and of a tool, of which it may do two.
const twice = `kind: Pipeline
metadata: {name: twice}
spec:
  limits: {max_llm_calls: 2}
  nodes:
    - {kind: llm_node, metadata: {name: a}, dependencies: [], spec: {human_message: hi}}
    - {kind: service_call_node, metadata: {name: counted}, dependencies: [a], spec: {service: metrics, method: count, input_mapping: {name: "'seen'"}}}
    - {kind: wait_node, metadata: {name: first}, dependencies: [counted], spec: {event_key: first}}
    - {kind: llm_node, metadata: {name: b}, dependencies: [first], spec: {human_message: hi}}
    - {kind: service_call_node, metadata: {name: again}, dependencies: [b], spec: {service: metrics, method: count, input_mapping: {name: "'seen'"}}}
    - {kind: wait_node, metadata: {name: second}, dependencies: [again], spec: {event_key: second}}
    - {kind: llm_node, metadata: {name: c}, dependencies: [second], spec: {human_message: hi}}
`

// A run has its limits once, however often it waits: with its journal at other machines, and with its file.
func TestLimitsOutlastWaits(t *testing.T) {
	const spec = "  ports: {llm: {adapter: mock, config: {responses: [\"12345678\"]}}}\n"
	goesOn := func(t *testing.T, m *machines, next func(t *testing.T) *host.Host, durable bool) *host.Result {
		t.Helper()
		m.write(t, "pipeline.yaml", twice)
		h := next(t)
		p, err := h.Load(t.Context(), m.path("pipeline.yaml"), host.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close(t.Context())
		r := p.Run(t.Context(), map[string]any{}, host.RunOptions{Durable: durable})
		for i, event := range []string{"first", "second"} {
			if n := int64(i + 1); r.Status != engine.Suspended || r.Usage.LLMCalls != n || r.Counters["seen"] != n {
				t.Fatalf("%s %v: %+v %v", r.Status, r.Err, r.Usage, r.Counters)
			}
			if r, err = next(t).Resume(t.Context(), r.RunID, event, nil, host.RunOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		wantError(t, r.Err, kernel.CodeLimit, "limits.max_llm_calls is 2")
		return r
	}
	onMachines(t, spec, func(t *testing.T, m *machines) {
		r := goesOn(t, m, m.next, true)
		if err := m.last.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.replayed(t, r.RunID)
	})
	t.Run("file", func(t *testing.T) {
		m := &machines{site: newSite(t, spec)}
		cfg, err := host.LoadConfig(m.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(t.Context(), cfg, host.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close(t.Context())
		goesOn(t, m, func(*testing.T) *host.Host { return h }, false)
	})
}

// A counter that governance lets no record name is in no journal; the others count on.
func TestMaskedCounters(t *testing.T) {
	d := newDurable(t, `  ports:
    governance: {adapter: abac, config: {rules: [
        {id: all, effect: allow, actions: ["**"]},
        {id: hidden, effect: allow, actions: [metrics.count], condition: "action.args.name == 'patients'", obligations: [{type: mask, record: ["/args/name"]}]}]}}
`)
	counts := func(node, counter string, after string) string {
		return `{kind: service_call_node, metadata: {name: ` + node + `}, dependencies: [` + after + `], spec: {service: metrics, method: count, input_mapping: {name: "'` + counter + `'"}}}`
	}
	h := d.host(t, "first", &ledger{}, d.journals)
	r := d.load(t, h, counts("a", "patients", ""), counts("b", "orders", "a"), `{kind: wait_node, metadata: {name: event}, dependencies: [b], spec: {event_key: now}}`, counts("c", "orders", "event")).Run(t.Context(), map[string]any{}, host.RunOptions{Durable: true})
	if r.Status != engine.Suspended || r.Counters["patients"] != 1 {
		t.Fatalf("%v %v", r.Err, r.Counters)
	}
	for _, e := range d.entries(t, r.RunID) {
		text, err := e.AppendJSON(nil)
		if err != nil || strings.Contains(string(text), `"patients":`) {
			t.Errorf("%v: %s", err, text)
		}
	}
	r, err := d.host(t, "second", &ledger{}, d.journals).Resume(t.Context(), r.RunID, "now", nil, host.RunOptions{})
	if err != nil || r.Status != engine.Completed || r.Counters["orders"] != 2 || len(r.Counters) != 1 {
		t.Errorf("%+v %v", r, err)
	}
}
