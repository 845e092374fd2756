package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// wazeroEngine runs modules on wazero: in Go alone, in memory of our own.
type wazeroEngine struct {
	runtime  wazero.Runtime
	cache    wazero.CompilationCache
	cacheDir string
}

func newWazero(ctx context.Context, cacheDir string) (engine, error) {
	return openWazero(ctx, cacheDir, wazero.NewRuntimeConfig())
}

// newInterpreter has nothing to cache.
func newInterpreter(ctx context.Context, _ string) (engine, error) {
	return openWazero(ctx, "", wazero.NewRuntimeConfigInterpreter())
}

// openWazero opens wazero as every process of a host has it: another configuration
// would be another entry of the cache. One runtime serves all modules, because wazero
// 1.12 mixes up type ids where several share a cache (#2511).
func openWazero(ctx context.Context, cacheDir string, config wazero.RuntimeConfig) (engine, error) {
	e := &wazeroEngine{cacheDir: cacheDir}
	config = config.WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(maxPages)
	if cacheDir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(cacheDir)
		if err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
		e.cache = cache
		config = config.WithCompilationCache(cache)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	for name, functions := range offers() {
		if err := e.offer(ctx, name, functions); err != nil {
			e.close(ctx)
			return nil, fmt.Errorf("offer the imports of %s: %w", name, err)
		}
	}
	return e, nil
}

func (e *wazeroEngine) offer(ctx context.Context, module string, functions []hostFunction) error {
	builder := e.runtime.NewHostModuleBuilder(module)
	serve := (*activation).serve
	if module == rewrite.ImportModule {
		serve = func(a *activation, h handler, stack []uint64) { h(a, nil, stack) }
	}
	for _, f := range functions {
		run := api.GoModuleFunc(func(ctx context.Context, _ api.Module, stack []uint64) { serve(activationOf(ctx), f.run, stack) })
		builder.NewFunctionBuilder().WithGoModuleFunction(run, valueTypes(f.params), valueTypes(f.results)).Export(f.name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// activationOf returns whose import runs: the context is that of the guest's call,
// or, while it is instantiated, one around it.
func activationOf(ctx context.Context) *activation {
	if c, ok := ctx.(*callContext); ok {
		return c.a
	}
	return ctx.Value(activationKey{}).(*activation)
}

func valueTypes(types []rewrite.ValType) []api.ValueType {
	list := make([]api.ValueType, len(types))
	for i, t := range types {
		list[i] = api.ValueType(t)
	}
	return list
}

func (e *wazeroEngine) compile(ctx context.Context, wasm []byte) (code, error) {
	compiled, err := e.runtime.CompileModule(ctx, wasm)
	if err != nil && e.cacheDir != "" && strings.HasPrefix(err.Error(), "compilationcache: ") {
		if err := e.purge(); err != nil {
			return nil, fmt.Errorf("empty the cache, in which an entry is broken: %w", err)
		}
		compiled, err = e.runtime.CompileModule(ctx, wasm)
	}
	if err != nil {
		return nil, err
	}
	return &wazeroCode{e, compiled}, nil
}

// purge empties the cache: which of its entries is a module's, wazero does not
// tell. The worker's marks go with them.
func (e *wazeroEngine) purge() error {
	entries, err := filepath.Glob(filepath.Join(e.cacheDir, "wazero-*", "*"))
	if err != nil {
		return err
	}
	marks, err := filepath.Glob(filepath.Join(e.cacheDir, compiledMark+string(Wazero)+"-*"))
	for _, file := range append(entries, marks...) {
		err = errors.Join(err, os.RemoveAll(file))
	}
	return err
}

func (e *wazeroEngine) close(ctx context.Context) error {
	err := e.runtime.Close(ctx)
	if e.cache != nil {
		if cerr := e.cache.Close(ctx); err == nil {
			err = cerr
		}
	}
	return err
}

type wazeroCode struct {
	engine   *wazeroEngine
	compiled wazero.CompiledModule
}

func (c *wazeroCode) instantiate(a *activation) (guest, error) {
	allocating := experimental.WithMemoryAllocator(&a.context, &a.instance.memory)
	module, err := c.engine.runtime.InstantiateModule(allocating, c.compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	if err != nil {
		return nil, err
	}
	return wazeroGuest{module}, nil
}

func (c *wazeroCode) close(ctx context.Context) error { return c.compiled.Close(ctx) }

type wazeroGuest struct{ module api.Module }

func (g wazeroGuest) function(name string) function {
	if f := g.module.ExportedFunction(name); f != nil {
		return f
	}
	return nil
}

func (g wazeroGuest) global(name string) global {
	if v, ok := g.module.ExportedGlobal(name).(api.MutableGlobal); ok {
		return v
	}
	return nil
}

func (g wazeroGuest) grow(pages uint32) bool {
	_, ok := g.module.Memory().Grow(pages)
	return ok
}

func (g wazeroGuest) close(ctx context.Context) {
	_ = g.module.Close(context.WithoutCancel(ctx)) // it has nothing that can fail to close
}

var _ experimental.LinearMemory = (*linearMemory)(nil)
