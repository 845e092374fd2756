package host_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
)

var blocking = []string{
	`{kind: function_node, metadata: {name: code}, dependencies: [], spec: {fn: work}}`,
	`{kind: service_call_node, metadata: {name: added}, dependencies: [code], spec: {service: ledger, method: add, input_mapping: {item: "'added'"}}}`,
}

// TestOneHostWorks: what a host works on no other takes, and a host that was taken for dead does nothing more.
func TestOneHostWorks(t *testing.T) {
	d := newDurable(t, durableConfig)
	entered, leave := make(chan struct{}), make(chan struct{})
	d.fn.do = func(context.Context, *kernel.NodeCall) (kernel.Value, error) {
		entered <- struct{}{}
		<-leave
		return true, nil
	}
	first, second := &ledger{}, &ledger{}
	h := d.host(t, "first", first, d.journals)
	p := d.load(t, h, blocking...)
	ended := make(chan *host.Result, 1)
	go func() { ended <- p.Run(t.Context(), map[string]any{}, host.RunOptions{Durable: true}) }()
	<-entered
	other := d.host(t, "second", second, d.journals)
	runs := d.journals.Open("reader")
	defer runs.Close()
	heads, err := runs.Runs(t.Context(), "default", driver.Query{})
	if err != nil || len(heads) != 1 {
		t.Fatal(heads, err)
	}
	id := heads[0].ID
	_, err = other.RecoverRun(t.Context(), id, host.RunOptions{})
	wantError(t, err, kernel.CodeFenced, "the run is under way elsewhere", "host first", id)
	d.journals.Bury()
	recovered := make(chan *host.Recovered, 1)
	go func() {
		r, err := other.RecoverRun(t.Context(), id, host.RunOptions{})
		if err != nil {
			t.Error(err)
		}
		recovered <- r
	}()
	select {
	case <-entered:
	case r := <-recovered:
		close(leave)
		t.Fatalf("%+v", r)
	}
	leave <- struct{}{}
	leave <- struct{}{}
	zombie, r := <-ended, <-recovered
	if zombie.Status == engine.Completed || kernel.CodeOf(zombie.Err) != kernel.CodeFenced {
		t.Errorf("%s: %v", zombie.Status, zombie.Err)
	}
	if r == nil || r.Result.Status != engine.Completed {
		t.Fatalf("%+v", r)
	}
	if len(first.items()) != 0 || len(second.items()) != 1 {
		t.Errorf("the one added %q, the other %q", first.items(), second.items())
	}
	_, err = other.RecoverRun(t.Context(), id, host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "the run has ended already", "it is completed")
	_, err = other.RecoverRun(t.Context(), "none", host.RunOptions{})
	wantError(t, err, kernel.CodeNotFound, "there is no journal of the run none")
}

// TestRecoverNeedsItsModules: a run does not go on with other modules than it began with.
func TestRecoverNeedsItsModules(t *testing.T) {
	d, was := whatIf(t, toolbox(t))
	entries := d.entries(t, was.RunID)
	of := &driver.Run{ID: was.RunID, Tenant: "default", Pipeline: "test", Version: entries[0].Head.Version, Begun: entries[0].Time}
	d.write(t, "hexdag.yaml", strings.ReplaceAll(readFile(t, d.path("hexdag.yaml")), toolbox(t), puppet(t)))
	h := d.host(t, "second", &ledger{}, died(t, of, entries[:5]))
	_, err := h.RecoverRun(t.Context(), was.RunID, host.RunOptions{})
	wantError(t, err, kernel.CodeDiverged, "the run cannot go on with other modules than it began with", "module box was sha256:", "restore them", was.RunID)
}
