package extension

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Module is a loaded module with its rights. Its bytes can be replaced while it is
// used: see Reload. It is safe for concurrent use.
type Module struct {
	spec    Spec
	runtime *sandbox.Runtime
	door    *ports.Door
	log     *slog.Logger
	stats   stats
	residue residue

	reloading sync.Mutex

	mu      sync.Mutex
	current *version
	runs    map[string]*version // what each run has begun with
	live    []*version          // all that are not closed
	pinned  []*version          // those that runs of elsewhere began with, the last used last
}

// Load reads and checks a module: the bytes, then the chain of its rights.
func Load(ctx context.Context, runtime *sandbox.Runtime, door *ports.Door, log *slog.Logger, spec Spec) (*Module, error) {
	m := &Module{spec: spec, runtime: runtime, door: door, log: log, runs: map[string]*version{}}
	v, err := m.load(ctx)
	if err != nil {
		return nil, err
	}
	m.admit(v)
	return m, nil
}

// load reads and checks what is in the module's file now.
func (m *Module) load(ctx context.Context) (*version, error) {
	wasm, err := ReadFile(m.spec.Path, m.spec.Static.MaxModuleBytes)
	if err != nil {
		return nil, kernel.At(err, kernel.Where{Module: kernel.Quote(m.spec.Name)})
	}
	return m.compile(ctx, wasm)
}

// compile checks a module's bytes, and its rights.
func (m *Module) compile(ctx context.Context, wasm []byte) (*version, error) {
	loaded, err := m.runtime.Load(ctx, wasm, sandbox.LoadOptions{Name: m.spec.Name, Limits: m.spec.Limits, Static: m.spec.Static, Dialect: m.spec.Dialect})
	if err != nil {
		return nil, kernel.At(err, kernel.Where{File: m.spec.Path})
	}
	v := &version{Module: loaded, owner: m}
	if err := v.link(); err != nil {
		return nil, errors.Join(kernel.At(err, kernel.Where{File: m.spec.Path, Module: loaded.ID()}), loaded.Close(ctx))
	}
	return v, nil
}

// admit makes a version the current one, and returns that which was.
func (m *Module) admit(v *version) (old *version) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, m.current = m.current, v
	v.users++
	m.live = append(m.live, v)
	return old
}

// Reload replaces the module by what is in its file now. Calls under way and runs
// that have begun go on with what they have; those that begin later get the new
// version; the old one is freed with its last run. The new version is held to all
// that the first one was held to, and has to serve what the old one serves. If
// it is refused, or admit returns an error for its digest, the old one goes on.
// An unchanged file is no change, and admit is not asked.
func (m *Module) Reload(ctx context.Context, admit func(digest string) error) (changed bool, err error) {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	next, err := m.load(ctx)
	if err != nil {
		return false, err
	}
	old := m.latest()
	if next.Digest() == old.Digest() {
		return false, next.Close(ctx)
	}
	if err = next.replaces(old); err == nil {
		err = admit(next.Digest())
	}
	if err != nil {
		return false, errors.Join(err, next.Close(ctx))
	}
	m.release(ctx, m.admit(next))
	return true, nil
}

// replaces checks that whatever uses the old version can use this one.
func (m *version) replaces(old *version) error {
	lacks := ""
	for _, p := range old.Points() {
		if !m.Has(p) {
			lacks = "does not export " + string(p)
		}
	}
	for name := range old.tools {
		if _, ok := m.tools[name]; !ok {
			lacks = "describes no tool " + kernel.Quote(name)
		}
	}
	for name, was := range old.ops {
		if is, ok := m.ops[name]; !ok {
			lacks = "describes no operation " + kernel.Quote(name)
		} else if !slices.Equal(is.Guards, was.Guards) {
			lacks = "gives operation " + kernel.Quote(name) + " other guards" // by which it was granted
		}
	}
	if lacks == "" {
		return nil
	}
	return &kernel.Error{Code: kernel.CodeModuleExport, What: "the module cannot take the place of the one that is loaded", Where: kernel.Where{File: m.owner.spec.Path, Module: m.ID()},
		Why: "it " + lacks + ", which pipelines and hooks may use", Fix: "keep what the loaded one has, or open the host anew"}
}

func (m *Module) latest() *version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// BeginRun fixes which version a run gets: its parent's, or the current one. A
// run that has not begun here gets its version with its first call.
func (m *Module) BeginRun(run *kernel.RunContext) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(run)
}

func (m *Module) of(run *kernel.RunContext) *version {
	v, ok := m.runs[run.RunID]
	if ok {
		return v
	}
	if v, ok = m.runs[run.ParentRunID]; !ok {
		v = m.current
	}
	v.users++
	m.runs[run.RunID] = v
	return v
}

// DigestOf returns the digest of the version that a run has.
func (m *Module) DigestOf(run *kernel.RunContext) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(run).Digest()
}

// EndRun frees what the module keeps for a run. No call of the run may be under
// way.
func (m *Module) EndRun(ctx context.Context, run string) {
	m.mu.Lock()
	v, ok := m.runs[run]
	delete(m.runs, run)
	m.mu.Unlock()
	m.residue.forget(run)
	if ok {
		v.EndRun(ctx, run)
		m.release(ctx, v)
	}
}

// hold returns the version for a call, which has to be released.
func (m *Module) hold(ctx context.Context) *version {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.current
	if run := kernel.RunFrom(ctx); run != nil {
		v = m.of(run)
	}
	v.users++
	return v
}

// release gives back what hold, a run or the module held, and frees a version that
// nobody holds any more.
func (m *Module) release(ctx context.Context, v *version) {
	m.mu.Lock()
	v.users--
	last := v.users == 0 && !v.closed
	if last {
		v.closed = true
		m.live = slices.DeleteFunc(m.live, func(l *version) bool { return l == v })
	}
	m.mu.Unlock()
	if !last {
		return
	}
	if err := v.Close(context.WithoutCancel(ctx)); err != nil {
		m.log.Error("an old version of a module is not freed", "module", m.spec.Name, "error", err.Error())
	}
}

// Versions returns how many versions are in use: the current one, and those that
// runs have begun with.
func (m *Module) Versions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.live)
}

// Close refuses new calls, waits for those under way and frees every version.
func (m *Module) Close(ctx context.Context) error {
	m.mu.Lock()
	live := m.live
	m.live = nil
	for _, v := range live {
		v.closed = true
	}
	m.mu.Unlock()
	var problems []error
	for _, v := range live {
		problems = append(problems, v.Close(ctx))
	}
	return errors.Join(problems...)
}

// Name returns the module's name: the operator's, or else the manifest's.
func (m *Module) Name() string { return m.latest().Name() }

// Digest returns "sha256:" and the hexadecimal digest of the current bytes.
func (m *Module) Digest() string { return m.latest().Digest() }

// Path returns the file that the module was loaded from.
func (m *Module) Path() string { return m.spec.Path }

// ID returns name@digest, the digest cut to twelve digits, as errors show it.
func (m *Module) ID() string { return m.latest().ID() }

// Has reports whether the current version exports this extension point.
func (m *Module) Has(p abi.Point) bool { return m.latest().Has(p) }

// Points returns the extension points that the current version exports.
func (m *Module) Points() []abi.Point { return m.latest().Points() }
