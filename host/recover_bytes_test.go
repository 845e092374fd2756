package host_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/kernel"
)

// tookBy is what the module that a node runs took, by a run's journal.
func tookBy(entries []*journal.Entry, node string) (t journal.Took) {
	for _, e := range entries {
		if (e.Kind == journal.Leave || e.Kind == journal.Ran) && e.Lane == node {
			t = e.Took
		}
	}
	return t
}

// TestRecoverBytes: the lines that modules logged and the bytes that they moved hold over the death of their host, where a run has a limit of
// them. Of one that has none they are in no journal.
func TestRecoverBytes(t *testing.T) {
	spec := func(limits string) string {
		return "  run_limits: {" + limits + "}\n  ports: {database: {adapter: memory, config: {tables: {orders: [{id: A-1}]}}}}\n  modules:\n    box: {path: PUPPET, grants: [metrics.count, database.query], config: {log: hello, op: metrics.count, args: {name: good}}}\n"
	}
	d := newDurable(t, spec("log_lines: 100, bytes_in: 1000000, bytes_out: 1000000"))
	nodes := []string{
		`{kind: function_node, metadata: {name: one}, dependencies: [], spec: {fn: box}}`,
		`{kind: function_node, metadata: {name: two}, dependencies: [one], spec: {fn: box}}`,
	}
	whole := d.load(t, d.host(t, "first", &ledger{}, d.journals), nodes...).Run(t.Context(), nil, host.RunOptions{Durable: true})
	if whole.Status != engine.Completed {
		t.Fatal(whole.Err)
	}
	entries := d.entries(t, whole.RunID)
	one, two := tookBy(entries, "one"), tookBy(entries, "two")
	if one.LogLines != 1 || two.LogLines != 1 || one.BytesIn == 0 || one.BytesOut == 0 || two.BytesIn == 0 || two.BytesOut == 0 {
		t.Fatalf("%+v, %+v", one, two)
	}
	known := d.until(t, whole.RunID, isDone("one"))
	in, out := one.BytesIn+two.BytesIn, one.BytesOut+two.BytesOut
	for name, test := range map[string]struct {
		limits string
		lines  int64 // that two logged
		words  string
	}{
		"enough":             {fmt.Sprintf("log_lines: 2, bytes_in: %d, bytes_out: %d", in, out), 1, ""},
		"too few lines":      {"log_lines: 1", 0, ""},
		"too few bytes in":   {fmt.Sprintf("bytes_in: %d", in-1), 0, "run_limits.bytes_in"},
		"too few bytes out":  {fmt.Sprintf("bytes_out: %d", out-1), 0, "run_limits.bytes_out"},
		"no limits any more": {"fuel: 1000000000", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := readFile(t, d.path("hexdag.yaml"))
			d.write(t, "hexdag.yaml", text[:strings.Index(text, "spec:\n")]+"spec:\n"+strings.ReplaceAll(spec(test.limits), "PUPPET", puppet(t)))
			after := &durable{site: d.site, journals: died(t, headOf(known), known), fn: d.fn}
			r, err := after.host(t, "second", &ledger{}, after.journals).RecoverRun(t.Context(), whole.RunID, host.RunOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if test.words != "" {
				wantError(t, r.Result.Err, kernel.CodeLimit, test.words)
				return
			}
			took := tookBy(after.entries(t, whole.RunID), "two")
			if r.Result.Status != engine.Completed || took.LogLines != test.lines || (took.BytesIn > 0) != strings.Contains(test.limits, "bytes_in") {
				t.Errorf("%s %v: %+v", r.Result.Status, r.Result.Err, took)
			}
		})
	}
}
