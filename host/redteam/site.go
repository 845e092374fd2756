package redteam

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/metrics"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

//go:embed modules/*.wasm
var modules embed.FS

// wasm returns a module of guests/hostile.
func wasm(name string) []byte {
	if name == "probe" {
		return probe.Wasm
	}
	b, err := modules.ReadFile("modules/" + name + ".wasm")
	if err != nil {
		panic(err) // the name is a constant of this package
	}
	return b
}

// site is the host that is attacked: a runtime, and a door with operations that
// are good to attack.
type site struct {
	runtime *sandbox.Runtime
	door    *ports.Door
	dir     string
	canary  *canary
	slack   int
	lost    bool // an attack goes on, so nothing can be closed

	mu      sync.Mutex
	gauge   *gauge
	began   time.Time
	loaded  []*extension.Module
	calls   []kernel.PortCall
	records []kernel.AuditRecord
	log     strings.Builder

	during         func() // what test.echo does first, if there is something
	slow, mostSlow atomic.Int64
}

func newSite(ctx context.Context, opts Options) (*site, error) {
	dir, err := os.MkdirTemp("", "hexdag-redteam-")
	if err != nil {
		return nil, err
	}
	s := &site{dir: dir, slack: max(opts.Slack, 1)}
	if err := s.open(ctx, opts); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	return s, nil
}

func (s *site) open(ctx context.Context, opts Options) error {
	var err error
	if s.runtime, err = sandbox.New(ctx, opts.Sandbox); err != nil {
		return err
	}
	s.door = ports.NewDoor(s, s)
	if err := errors.Join(s.door.Register(append(s.ops(), metrics.Ops()...)...), s.registerPorts()); err != nil {
		return err
	}
	s.canary = &canary{}
	if s.canary.module, err = s.load(ctx, guest{name: "canary"}); err != nil {
		return fmt.Errorf("the canary: %w", err)
	}
	s.loaded = nil
	if s.canary.hook, err = s.canary.module.PortHook(); err != nil {
		return err
	}
	return s.canary.measure(ctx)
}

func (s *site) close(ctx context.Context) error {
	if s.lost {
		return nil
	}
	s.cleanUp(ctx)
	var problems []error
	if s.canary != nil && s.canary.module != nil {
		problems = append(problems, s.canary.module.Close(ctx))
	}
	if s.runtime != nil {
		problems = append(problems, s.runtime.Close(ctx))
	}
	return errors.Join(append(problems, os.RemoveAll(s.dir))...)
}

// reset forgets what the last case left.
func (s *site) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.records, s.during = nil, nil, nil
	s.mostSlow.Store(0)
	s.log.Reset()
}

func (s *site) cleanUp(ctx context.Context) {
	for _, m := range s.loaded {
		_ = m.Close(ctx)
	}
	s.loaded = nil
}

// begin starts the clock and the gauge anew, for an attack whose preparation
// does not count.
func (s *site) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gauge.stop()
	s.gauge = startGauge()
	s.began = time.Now()
}

// ops are the operations at the door. All honour their context.
func (s *site) ops() []ports.Op {
	guards := []string{"topic", "key"}
	return []ports.Op{
		{Name: "test.echo", Guards: guards, Func: s.echo},
		{Name: "test.slow", Func: s.wait},
		{Name: "test.big", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			return &kernel.PortReply{Body: make([]byte, 32<<20)}, nil
		}},
		{Name: "test.panic", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) { panic("a bug of the host's") }},
	}
}

func (s *site) echo(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	if s.during != nil {
		s.during()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, *call)
	return &kernel.PortReply{Value: call.Args, Body: call.Body}, nil
}

// wait takes three seconds, and counts how many do so at once.
func (s *site) wait(ctx context.Context, _ *kernel.PortCall) (*kernel.PortReply, error) {
	now := s.slow.Add(1)
	defer s.slow.Add(-1)
	for most := s.mostSlow.Load(); now > most && !s.mostSlow.CompareAndSwap(most, now); most = s.mostSlow.Load() {
	}
	select {
	case <-time.After(3 * time.Second):
		return &kernel.PortReply{}, nil
	case <-ctx.Done():
		return nil, kernel.ContextError(ctx)
	}
}

// Authorize allows everything: what is refused is refused for lack of a right.
func (s *site) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{Effect: kernel.Allow}, nil
}

// Audit keeps what the attacker does; the canary calls nothing.
func (s *site) Audit(_ context.Context, r *kernel.AuditRecord) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) < 10_000 {
		s.records = append(s.records, *r)
	}
	return nil
}

func (s *site) recorded(effect kernel.Effect) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.Effect == effect && r.Tenant == "mallory-inc" && r.RunID == "attack" {
			return true
		}
	}
	return false
}

// Write takes what modules log.
func (s *site) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Len() < 16<<20 {
		s.log.Write(p)
	}
	return len(p), nil
}

// guest says how to load a module.
type guest struct {
	name     string // in guests/hostile
	wasm     []byte // or its bytes
	requests []any
	grants   []any // nil means what it requests
	tools    []abi.Tool
	limits   sandbox.Limits
	digest   string
}

// load loads a module as an operator would.
func (s *site) load(ctx context.Context, g guest) (*extension.Module, error) {
	bytes := g.wasm
	if bytes == nil {
		bytes = wasm(g.name)
	}
	if g.name == "" {
		g.name = "generated"
	}
	if g.grants == nil {
		g.grants = g.requests
	}
	if err := s.write(g.name, g, bytes); err != nil {
		return nil, err
	}
	return s.loadFile(ctx, s.file(g.name), g)
}

func (s *site) file(name string) string { return filepath.Join(s.dir, name+".wasm") }

// write writes a guest's file, with the manifest that it needs.
func (s *site) write(name string, g guest, bytes []byte) error {
	if g.requests != nil || g.tools != nil {
		var err error
		manifest := &abi.Manifest{Name: "mallory", Version: "1.0.0", Tools: g.tools, Capabilities: capabilities(g.requests)}
		if bytes, err = abi.EmbedManifest(bytes, manifest); err != nil {
			return err
		}
	}
	return os.WriteFile(s.file(name), bytes, 0o600)
}

func (s *site) loadFile(ctx context.Context, file string, g guest) (*extension.Module, error) {
	m, err := extension.Load(ctx, s.runtime, s.door, slog.New(slog.NewTextHandler(s, nil)),
		extension.Spec{Name: g.name, Path: file, Grants: capabilities(g.grants), Limits: g.limits, Digest: g.digest})
	if err == nil {
		s.loaded = append(s.loaded, m)
	}
	return m, err
}

// capabilities reads capabilities as an operator writes them.
func capabilities(list []any) []abi.Capability {
	caps := make([]abi.Capability, len(list))
	for i, v := range list {
		c, err := abi.ParseCapability(v)
		if err != nil {
			panic(err) // it is a constant of this package
		}
		caps[i] = c
	}
	return caps
}

// topic is the capability for test.echo to the topics of a pattern.
func topic(pattern string) map[string]any {
	return map[string]any{"test.echo": map[string]any{"topic": pattern}}
}

// attackers is the context of the attacker's run.
func attackers(ctx context.Context) context.Context {
	return kernel.WithRun(ctx, &kernel.RunContext{RunID: "attack", Tenant: "mallory-inc", Principal: "mallory", Started: time.Now()})
}
