package policy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

const (
	// maxModule bounds a module before anything reads it. OPA's are 130 to 350 KB.
	maxModule = 8 << 20
	pageSize  = 1 << 16
	// maxPages keeps a memory short of 4 GiB, where wazero 1.12 panics in the host.
	maxPages = 1<<16 - 1
	// startTimeout bounds making an instance, in which the data is parsed.
	startTimeout = 10 * time.Second
	// spare is how much more memory than its image an instance has room for.
	spare = 4 * pageSize
	// perByte is about how much memory a byte of data takes once it is parsed.
	perByte = 24
)

// engine makes instances of one compiled module. Policies that differ in their data
// share it.
type engine struct {
	opts    Options
	digest  [sha256.Size]byte // of the module as it was given
	paths   bool              // it has updates of data by path
	users   atomic.Int64      // policies; none comes back once there are none
	offered map[string]builtin
	runtime wazero.Runtime
	policy  wazero.CompiledModule
	env     wazero.CompiledModule
}

// newRuntime makes a runtime that does not look at contexts: modules are metered, and
// stopped where they ask for fuel. Tables cannot grow, as OPA's modules need only the
// first version of WebAssembly.
func newRuntime(ctx context.Context, opts Options) wazero.Runtime {
	config := wazero.NewRuntimeConfig()
	if opts.Interpreter {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	config = config.
		WithCoreFeatures(api.CoreFeaturesV1).
		WithMemoryLimitPages(maxPages)
	if opts.Cache != nil {
		config = config.WithCompilationCache(opts.Cache)
	}
	return wazero.NewRuntimeWithConfig(ctx, config)
}

func newEngine(ctx context.Context, wasm []byte, opts Options) (*engine, error) {
	if len(wasm) > maxModule {
		return nil, invalid(opts.Name, "the policy's module is too large", fmt.Sprintf("%d bytes, and the limit is %d", len(wasm), maxModule), "")
	}
	opts.Data = nil // the policies have it
	e := &engine{opts: opts, digest: sha256.Sum256(wasm), runtime: newRuntime(ctx, opts), offered: hostBuiltins()}
	maps.Copy(e.offered, newPatterns().builtins())
	e.users.Store(1)
	if err := e.compile(ctx, wasm); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *engine) compile(ctx context.Context, wasm []byte) (err error) {
	if wasm, err = metered(wasm, e.opts); err != nil {
		return err
	}
	if e.policy, err = e.runtime.CompileModule(ctx, wasm); err != nil {
		return invalid(e.opts.Name, "the policy is not a WebAssembly module that this host runs", kernel.Quote(err.Error()), "build it with hexdag policy build")
	}
	minPages, err := e.checkImports()
	if err != nil {
		return err
	}
	if err := e.checkExports(); err != nil {
		return err
	}
	quota := uint32(min(e.opts.Memory/pageSize, maxPages))
	if minPages > quota {
		return invalid(e.opts.Name, "the policy needs more memory than it may have",
			fmt.Sprintf("%d pages of 64 KiB, and the limit is %d", minPages, quota), "")
	}
	if err := errors.Join(instantiateHost(ctx, e.runtime), instantiateMeter(ctx, e.runtime)); err != nil {
		return fmt.Errorf("policy: host functions: %w", err)
	}
	if e.env, err = e.runtime.CompileModule(ctx, envWasm(minPages, quota)); err != nil {
		return fmt.Errorf("policy: module env: %w", err)
	}
	return nil
}

// checkImports returns the least size of the memory that the policy imports.
func (e *engine) checkImports() (minPages uint32, err error) {
	known := hostFunctions()
	for _, f := range e.policy.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == rewrite.ImportModule { // the rewriter's, which refuses a module that has any itself
			continue
		}
		if module != envModule || !slices.ContainsFunc(known, func(k hostFunction) bool { return k.name == name }) {
			return 0, invalid(e.opts.Name, fmt.Sprintf("the policy imports %s.%s", kernel.Quote(module), kernel.Quote(name)),
				"a policy may import only what OPA's ABI has", "build it with hexdag policy build")
		}
	}
	memories := e.policy.ImportedMemories()
	if len(memories) != 1 {
		return 0, notOPA(e.opts.Name, "it does not import its memory")
	}
	return memories[0].Min(), nil
}

// checkExports refuses a module that lacks a function that the driver calls.
// wazero itself checks the signatures of imports, but not those of exports.
func (e *engine) checkExports() error {
	exports := e.policy.ExportedFunctions()
	e.paths = hasPaths(exports)
	for name, want := range map[string]struct{ params, results int }{
		"opa_eval":         {7, 1},
		"builtins":         {0, 1},
		"entrypoints":      {0, 1},
		"opa_malloc":       {1, 1},
		"opa_json_dump":    {1, 1},
		"opa_value_parse":  {2, 1},
		"opa_value_dump":   {1, 1},
		"opa_heap_ptr_get": {0, 1},
	} {
		f, ok := exports[name]
		if !ok {
			return notOPA(e.opts.Name, "it does not export "+name)
		}
		if !allI32(f.ParamTypes(), want.params) || !allI32(f.ResultTypes(), want.results) {
			return notOPA(e.opts.Name, "its export "+name+" has the wrong signature")
		}
	}
	return nil
}

// hasPaths reports whether a module has what ABI 1.3 added, and add_path and
// remove_path, which are older and of no use without it.
func hasPaths(exports map[string]api.FunctionDefinition) bool {
	for name, want := range map[string]struct{ params, results int }{
		"opa_value_add_path": {3, 1}, "opa_value_remove_path": {2, 1}, "opa_value_free": {1, 0},
		"opa_heap_ptr_set": {1, 0}, "opa_heap_blocks_stash": {0, 0}, "opa_heap_blocks_restore": {0, 0},
	} {
		f, ok := exports[name]
		if !ok || !allI32(f.ParamTypes(), want.params) || !allI32(f.ResultTypes(), want.results) {
			return false
		}
	}
	return true
}

func allI32(types []api.ValueType, n int) bool {
	return len(types) == n && !slices.ContainsFunc(types, func(t api.ValueType) bool { return t != api.ValueTypeI32 })
}

func notOPA(name, why string) error {
	return invalid(name, "the module is not a policy that OPA compiled, for its ABI 1.2 or later", why, "build it with hexdag policy build")
}

// instantiate makes a memory of its own and a policy on it, without names, so
// that one runtime holds many.
// Its memory has room, in bytes, before it moves.
func (e *engine) instantiate(ctx context.Context, room uint64) (*instance, error) {
	in := &instance{opts: &e.opts, offered: e.offered, fuel: startFuel} // the module's start function takes of it, too
	ctx = in.context(ctx)
	anonymous := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	env, err := e.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, &memory{room: room}), e.env, anonymous)
	if err != nil {
		return nil, fmt.Errorf("policy: module env: %w", err)
	}
	in.env, in.memory = env, env.Memory()
	resolver := func(module string) api.Module {
		if module == envModule {
			return env
		}
		return nil
	}
	in.policy, err = e.runtime.InstantiateModule(experimental.WithImportResolver(ctx, resolver), e.policy, anonymous)
	if err != nil {
		in.close()
		if in.fault != nil {
			return nil, in.fault
		}
		return nil, invalid(e.opts.Name, "the policy cannot be instantiated", kernel.Quote(err.Error()), "build it with hexdag policy build")
	}
	in.bind()
	if e.paths {
		in.bindPaths()
	}
	return in, nil
}

// copyOf returns an instance like the one that an image was taken of.
func (e *engine) copyOf(ctx context.Context, m *image) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in, err := e.instantiate(ctx, uint64(m.size)+spare)
	if err != nil {
		return nil, err
	}
	in.contract = m.contract
	if err := in.restore(m); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (e *engine) compiledFrom(wasm []byte) bool { return e.digest == sha256.Sum256(wasm) }

// retain adds a policy to those that use the engine, unless the last one is closed.
func (e *engine) retain() bool {
	for {
		n := e.users.Load()
		if n == 0 {
			return false
		}
		if e.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release frees everything that the engine made once no policy uses it. Closing
// wazero's modules cannot fail.
func (e *engine) release() {
	if e.users.Add(-1) == 0 {
		e.close()
	}
}

func (e *engine) close() { _ = e.runtime.Close(context.Background()) }
