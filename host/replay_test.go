package host_test

import (
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
)

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
