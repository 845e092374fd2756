package host_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// TestKilledWhileItGoesOn kills the process in which a run goes on for an event, with SIGKILL, at random moments; on another machine it waits again, or goes on
// with what is left. Nothing is done twice, and nothing is lost.
func TestKilledWhileItGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: hosts that are killed while runs go on")
	}
	s := newSite(t, "  journal: {config: {path: journal.db}}\n")
	nodes := []string{`{kind: wait_node, metadata: {name: event}, dependencies: [], spec: {event_key: go}}`}
	const adds = 6
	for i := range adds {
		nodes = append(nodes, fmt.Sprintf(`{kind: service_call_node, metadata: {name: add%d}, spec: {service: ledger, method: add, input_mapping: {item: "str($input.id) + '.%[1]d'"}}}`, i))
	}
	second := &ledger{}
	open := func() *host.Host {
		cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.State = t.TempDir()
		h, err := host.New(t.Context(), cfg, host.Options{KeyFile: s.path("audit.key"), CacheDir: s.path("cache"), Ports: []host.PortOp{{Name: "ledger.add", Func: second.add}}})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	kills := 12
	if testenv.Race {
		kills = 4
	}
	again, went := 0, 0
	for i := range kills {
		h := open()
		p := s.load(t, h, nodes...)
		r := p.Run(t.Context(), map[string]any{"id": i}, host.RunOptions{Durable: true})
		if r.Status != engine.Suspended {
			t.Fatal(r.Err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		cmd, said := s.live(t, "wake go")
		die(t, cmd, said, rand.IntN(adds+1), time.Duration(rand.Int64N(int64(8*time.Millisecond))))
		h = open()
		var last *host.Result
		err := h.Recover(t.Context(), host.RunOptions{}, func(r *host.Recovered) {
			if r.Err != nil {
				t.Error(r.Err)
				return
			}
			went++
			last = r.Result
		})
		if err != nil {
			t.Error(err)
		}
		waiting, err := h.Waiting()
		if err != nil {
			t.Error(err)
		}
		if len(waiting) > 0 {
			again++
			results, err := h.Signal(t.Context(), "go", map[string]any{"by": "Ann"}, host.RunOptions{})
			if err != nil || len(results) != 1 {
				t.Fatalf("%+v %v", results, err)
			}
			last = results[0]
		}
		unknown := last != nil && kernel.CodeOf(last.Err) == kernel.CodeInFlight // it was killed in the middle of a call
		if last != nil && last.Status != engine.Completed && !unknown {
			t.Errorf("%s %v", last.Status, last.Err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
		added := map[string]int{}
		if text, err := os.ReadFile(s.path("ledger.log")); err == nil {
			for item := range strings.FieldsSeq(string(text)) {
				added[item]++
			}
		}
		for _, item := range second.items() {
			added[item]++
		}
		for n := range adds {
			if item := fmt.Sprintf("%d.%d", i, n); added[item] > 1 || added[item] == 0 && !unknown {
				t.Errorf("%s was added %d times", item, added[item])
			}
		}
	}
	t.Logf("%d killed: %d waited again, %d were recovered; of %d the first processes added %d", kills, again, went, kills*adds, kills*adds-len(second.items()))
}
