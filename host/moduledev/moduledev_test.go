package moduledev

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a loop whose looks the test makes, one by one.
type bench struct {
	t      *testing.T
	dir    string
	idle   chan struct{} // a token each time the loop waits
	look   chan struct{}
	rounds chan *Round
	told   []Change
	builds int
	err    error
	calls  []Call
	ended  chan error
	cancel context.CancelFunc
}

func start(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), idle: make(chan struct{}), look: make(chan struct{}), rounds: make(chan *Round, 1), ended: make(chan error, 1)}
	b.write("main.c", "a")
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	b.calls = []Call{{Name: "one", Verdict: "continue", Fuel: 100, HostCalls: []string{"a.b {}"}}}
	go func() {
		b.ended <- Run(ctx, Loop{
			Dir:   b.dir,
			Build: func(context.Context) (string, error) { b.builds++; return "m.wasm", b.err },
			Run:   func(context.Context, string) ([]Call, error) { return b.calls, nil },
			Report: func(r *Round, changes []Change) {
				b.told = changes
				b.rounds <- r
			},
			Wait: func(ctx context.Context) {
				select {
				case b.idle <- struct{}{}:
				case <-ctx.Done():
				}
				select {
				case <-b.look:
				case <-ctx.Done():
				}
			},
		})
	}()
	t.Cleanup(func() { cancel(); <-b.ended })
	return b
}

func (b *bench) write(name, text string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(b.dir, name)), 0o700); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// looks has the loop look n times, and returns the round that was done, if any.
func (b *bench) looks(n int) *Round {
	b.t.Helper()
	for range n {
		b.look <- struct{}{}
		<-b.idle
	}
	select {
	case r := <-b.rounds:
		return r
	default:
		return nil
	}
}

func TestRoundsFollowChanges(t *testing.T) {
	b := start(t)
	<-b.idle
	if r := <-b.rounds; r.Err != nil || len(r.Calls) != 1 || b.told != nil {
		t.Fatalf("the first round: %+v, %v", r, b.told)
	}
	if r := b.looks(3); r != nil {
		t.Errorf("a round without a change: %+v", r)
	}
	for _, name := range []string{"out.wasm", ".git/x", "node_modules/a.js", "sdk/js/engine/vendor/a.c", "sdk/js/engine/target/a.o", ".swp"} {
		b.write(name, "x")
		if r := b.looks(3); r != nil {
			t.Errorf("a round after a change of %s", name)
		}
	}

	b.calls = []Call{{Name: "one", Verdict: "deny", Fuel: 110, HostCalls: []string{"c.d {}"}, Log: []string{"warn: x"}, Result: "{}"}, {Name: "two"}}
	b.write("sub/more.c", "b") // a new file, below
	early := b.looks(1)
	b.write("main.c", "longer") // and another before the next look
	if early != nil || b.looks(1) != nil {
		t.Fatal("a round before the source was at rest")
	}
	r := b.looks(1)
	want := []Change{{"one", []string{"verdict  continue -> deny", "result   none -> {}", "fuel     100 -> 110 (+10.0%)", "calls    - a.b {}", "calls    + c.d {}", "log      + warn: x"}}}
	if r == nil || !reflect.DeepEqual(b.told, want) {
		t.Fatalf("%+v\ngot  %q\nwant %q", r, b.told, want)
	}

	// A build that fails is told, and compared is what ran last.
	b.err = errors.New("broken")
	b.write("main.c", "x")
	if r := b.looks(2); r == nil || r.Err == nil || b.told != nil {
		t.Errorf("a broken build: %+v, %v", r, b.told)
	}
	b.err, b.calls = nil, slices.Clone(b.calls[:1])
	b.calls[0].Fuel = 120
	if err := os.Remove(filepath.Join(b.dir, "sub", "more.c")); err != nil {
		t.Fatal(err)
	}
	if r := b.looks(2); r == nil || len(b.told) != 1 || b.told[0].Lines[0] != "fuel     110 -> 120 (+9.1%)" {
		t.Errorf("a file that is gone: %+v, %v", r, b.told)
	}
}

func TestRunStops(t *testing.T) {
	b := start(t)
	<-b.rounds
	b.cancel()
	if err := <-b.ended; err != nil {
		t.Error(err)
	}
	b.ended <- nil
	err := Run(t.Context(), Loop{Dir: filepath.Join(b.dir, "gone")})
	if kernel.CodeOf(err) != kernel.CodeModuleNotFound {
		t.Errorf("no folder: %v", err)
	}
}

func TestDifferenceInOrder(t *testing.T) {
	if got := difference("log ", []string{"a", "b"}, []string{"b", "a"}); len(got) != 1 || got[0] != "log in another order" {
		t.Errorf("got %q", got)
	}
	if got := difference("log ", []string{"a", "a"}, []string{"a"}); len(got) != 1 || got[0] != "log - a" {
		t.Errorf("got %q", got)
	}
}
