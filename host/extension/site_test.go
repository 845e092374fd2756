package extension_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a host in small: a runtime, and a door with one operation, test.echo
// {topic, key}.
type site struct {
	runtime *sandbox.Runtime
	door    *ports.Door
	log     *logbook

	mu      sync.Mutex
	calls   []kernel.PortCall
	records []kernel.AuditRecord
	decide  func(req *kernel.AccessRequest) kernel.Decision      // nil allows
	again   func(ctx context.Context) (*kernel.PortReply, error) // in place of test.echo
}

// logbook keeps lines as they were logged, without the escapes that slog's own
// handlers add.
type logbook struct {
	slog.Handler
	lines []string
}

func (*logbook) Enabled(context.Context, slog.Level) bool { return true }

func (l *logbook) Handle(_ context.Context, r slog.Record) error {
	l.lines = append(l.lines, r.Message)
	return nil
}

func newSite(t testing.TB) *site {
	t.Helper()
	runtime, err := sandbox.New(context.Background(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { runtime.Close(context.Background()) })
	s := &site{runtime: runtime, log: &logbook{}}
	s.door = ports.NewDoor(s, s)
	if err := s.door.Register(ports.Op{Name: "test.echo", Guards: []string{"topic", "key"}, Func: s.echo}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) echo(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if s.again != nil {
		return s.again(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, *call)
	return &kernel.PortReply{Value: call.Args, Body: call.Body}, nil
}

func (s *site) Audit(_ context.Context, r *kernel.AuditRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, *r)
	return nil
}

func (s *site) Authorize(_ context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	if s.decide != nil {
		return s.decide(req), nil
	}
	return kernel.Decision{Effect: kernel.Allow}, nil
}

// capabilities reads capabilities as an operator writes them.
func capabilities(t testing.TB, list ...any) []abi.Capability {
	t.Helper()
	caps := make([]abi.Capability, len(list))
	for i, v := range list {
		c, err := abi.ParseCapability(v)
		if err != nil {
			t.Fatal(err)
		}
		caps[i] = c
	}
	return caps
}

// topic is the capability for test.echo to topics of a pattern.
func topic(pattern string) map[string]any {
	return map[string]any{"test.echo": map[string]any{"topic": pattern}}
}

// load loads bytes with a manifest, whose name it fills in.
func (s *site) load(t testing.TB, wasm []byte, manifest *abi.Manifest, spec extension.Spec) (*extension.Module, error) {
	t.Helper()
	if manifest != nil {
		manifest.Name, manifest.Version = "guest", "1.0.0"
		var err error
		if wasm, err = abi.EmbedManifest(wasm, manifest); err != nil {
			t.Fatal(err)
		}
	}
	spec.Path = filepath.Join(t.TempDir(), "guest.wasm")
	if spec.Name == "" {
		spec.Name = "guest"
	}
	if err := os.WriteFile(spec.Path, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := extension.Load(context.Background(), s.runtime, s.door, slog.New(s.log), spec)
	if err == nil {
		t.Cleanup(func() { m.Close(context.Background()) })
	}
	return m, err
}

// probe loads the probe, which requests the list and all else that it imports,
// and is granted the grants and that.
func (s *site) probe(t *testing.T, requests, grants []any) *extension.Module {
	t.Helper()
	rest := []any{abi.OpClock, abi.OpRandom}
	m, err := s.load(t, probe.Wasm, &abi.Manifest{Capabilities: capabilities(t, append(rest, requests...)...)},
		extension.Spec{Grants: capabilities(t, append(rest, grants...)...)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// hostile returns a module of the red team's.
func hostile(t *testing.T, name string) []byte {
	t.Helper()
	wasm, err := os.ReadFile(filepath.Join("..", "redteam", "modules", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// inRun is a context of a run of alice's.
func inRun() context.Context {
	return kernel.WithRun(context.Background(), &kernel.RunContext{RunID: "r1", Tenant: "alice-inc", Principal: "alice"})
}

// play has a module that is the probe do a script, as a hook before another call.
func play(t *testing.T, m *extension.Module, s *probe.Script) ([]int64, string) {
	t.Helper()
	hook, err := m.PortHook()
	if err != nil {
		t.Fatal(err)
	}
	v, err := hook.BeforePort(inRun(), &kernel.PortCall{Op: "other.op", Args: map[string]any{}, Body: s.Image(), Caller: kernel.Caller{Principal: "alice"}})
	if err != nil {
		t.Fatal(err)
	}
	results, before, err := s.Results(v.Body)
	if err != nil {
		t.Fatal(err)
	}
	return results, string(before)
}
