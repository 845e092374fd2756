package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRuntime opens the engine that is to be tested: HEXDAG_TEST_ENGINE, or wazero.
func newRuntime(t testing.TB) *sandbox.Runtime {
	t.Helper()
	r, err := sandbox.New(context.Background(), sandbox.Options{Engine: sandbox.Engine(os.Getenv("HEXDAG_TEST_ENGINE"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func load(t testing.TB, r *sandbox.Runtime, wasm []byte, limits sandbox.Limits) *sandbox.Module {
	t.Helper()
	m, err := r.Load(context.Background(), wasm, sandbox.LoadOptions{Name: "guest", Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// loadProbe returns the probe in a runtime of its own.
func loadProbe(t testing.TB, limits sandbox.Limits) *sandbox.Module {
	t.Helper()
	return load(t, newRuntime(t), probe.Wasm, limits)
}

// hostile returns a module of the red team's.
func hostile(t testing.TB, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "redteam", "modules", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// input is what the probe is called with at port_before, where /args may be patched.
func input() kernel.Value {
	return map[string]any{
		"run":  map[string]any{"run_id": "r1", "tenant": "alice"},
		"args": map[string]any{"a": "é", "n": []any{kernel.Number(1), true, nil}, "o": map[string]any{"x/y": "", "~": false}},
	}
}

// play has the probe do a script at port_before.
func play(t testing.TB, m *sandbox.Module, s *probe.Script, h sandbox.Host) ([]int64, *sandbox.Outcome) {
	t.Helper()
	out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Image(), Host: h})
	if err != nil {
		t.Fatal(err)
	}
	results, _, err := s.Results(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return results, out
}

// fakeHost is a host whose every method a test can stand in for. It denies what
// the test does not say.
type fakeHost struct {
	call   func(ctx context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error)
	clock  func(id abi.ClockID) (int64, error)
	random func(p []byte) error

	mu    sync.Mutex
	lines []string
}

var errDenied = &kernel.Error{Code: kernel.CodeDenied, What: "no"}

func (h *fakeHost) Call(ctx context.Context, op string, args map[string]any, body []byte) (*kernel.PortReply, error) {
	if h.call == nil {
		return nil, errDenied
	}
	return h.call(ctx, op, args, body)
}

func (h *fakeHost) Log(_ abi.Level, line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lines = append(h.lines, line)
}

func (h *fakeHost) Clock(_ context.Context, id abi.ClockID) (int64, error) {
	if h.clock == nil {
		return 0, errDenied
	}
	return h.clock(id)
}

func (h *fakeHost) Random(_ context.Context, p []byte) error {
	if h.random == nil {
		return errDenied
	}
	return h.random(p)
}

// wantCode fails unless err has the code.
func wantCode(t testing.TB, err error, want kernel.Code) {
	t.Helper()
	if got := kernel.CodeOf(err); got != want {
		t.Errorf("code %q, want %q (%v)", got, want, err)
	}
}
