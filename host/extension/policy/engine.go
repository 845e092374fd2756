package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
)

// engine makes instances of one compiled module.
type engine struct {
	opts    Options
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
	e := &engine{opts: opts, runtime: newRuntime(ctx, opts)}
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

func allI32(types []api.ValueType, n int) bool {
	return len(types) == n && !slices.ContainsFunc(types, func(t api.ValueType) bool { return t != api.ValueTypeI32 })
}

func notOPA(name, why string) error {
	return invalid(name, "the module is not a policy that OPA compiled, for its ABI 1.2 or later", why, "build it with hexdag policy build")
}

// newInstance makes a memory of its own and a policy on it, without names, so
// that one runtime holds many.
func (e *engine) newInstance(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	in := &instance{opts: &e.opts, fuel: startFuel} // the module's start function takes of it, too
	ctx = in.context(ctx)
	anonymous := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	env, err := e.runtime.InstantiateModule(ctx, e.env, anonymous)
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
	if err := in.start(ctx); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// close frees everything that the engine made. Closing wazero's modules cannot fail.
func (e *engine) close() { _ = e.runtime.Close(context.Background()) }
