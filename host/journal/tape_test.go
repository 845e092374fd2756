package journal

import (
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// TestTapeStuck: an order that does not come about is given up, but not while a module computes what comes next.
func TestTapeStuck(t *testing.T) {
	run, g := &kernel.RunContext{RunID: "r"}, Guest{Module: "m", Point: "node_run"}
	was := &Taken{}
	l := Record(run, was).Lane("a")
	if err := l.Enter(g); err != nil {
		t.Fatal(err)
	}
	if err := l.Leave(g, Took{Fuel: 1}, "ok", nil); err != nil {
		t.Fatal(err)
	}
	tape := Again(run, Replaying, &Taken{}, was.Entries(), Options{})
	again := tape.Lane("a")
	if err := again.Enter(g); err != nil {
		t.Fatal(err)
	}
	if tape.stuck(0); tape.parted() {
		t.Error("it is given up while the module computes")
	}
	if err := again.Leave(g, Took{Fuel: 1}, "ok", nil); err != nil || len(tape.Differences()) > 0 || tape.working != 0 {
		t.Error(err, tape.Differences(), tape.working)
	}
	tape = Again(run, Replaying, &Taken{}, was.Entries(), Options{})
	if tape.stuck(0); !tape.parted() {
		t.Error("nobody does anything, and it goes on waiting")
	}
}
