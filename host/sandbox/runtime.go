// Package sandbox turns untrusted WebAssembly into calls that cannot harm the
// host: bytes are checked, rewritten (package rewrite), compiled in a process
// that can be killed, instantiated, and each call gets documents, limits and
// nothing else. What a guest may reach is decided by the Host that a call is
// given.
package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// Runtime compiles and runs modules. It is safe for concurrent use.
type Runtime struct {
	engine wazero.Runtime
	cache  wazero.CompilationCache
	worker *worker // nil: modules are compiled in this process

	tenants tenants

	mu       sync.Mutex // wazero 1.12 does not like compiling and closing at once (#2453)
	compiled map[string]*compiled
}

// compiled is a compiled module that several Modules share: closing one of two
// equal ones in wazero 1.12 breaks the other (#2336).
type compiled struct {
	code  wazero.CompiledModule
	users int
}

// Options configures a Runtime.
type Options struct {
	// CacheDir keeps compiled modules between processes; it is made with mode
	// 0700. Who can write to it can run code in the host. "" means no cache.
	CacheDir string
	// Worker is the command, with its arguments, that compiles a module for the
	// cache: a program that calls CompileWorker. Without it, or without a cache,
	// modules are compiled in this process, where only the static limits hold.
	Worker []string
	// Tenants bounds what the calls of each tenant take; zero fields mean
	// DefaultTenantLimits.
	Tenants TenantLimits
	// Log is told what an operator should know; nil drops it.
	Log *slog.Logger
}

// New returns a Runtime. The caller closes it after the last call has returned.
func New(ctx context.Context, opts Options) (*Runtime, error) {
	if os.Getenv(workerMark) != "" {
		return nil, fmt.Errorf("this process was started to compile a module: a program that Options.Worker names must call CompileWorker and do nothing else")
	}
	config := engineConfig()
	r := &Runtime{compiled: map[string]*compiled{}}
	r.tenants.limits = opts.Tenants.Or(DefaultTenantLimits())
	if opts.CacheDir != "" {
		if err := privateDir(opts.CacheDir); err != nil {
			return nil, err
		}
		cache, err := wazero.NewCompilationCacheWithDir(opts.CacheDir)
		if err != nil {
			return nil, fmt.Errorf("open the cache of compiled modules: %w", err)
		}
		r.cache = cache
		config = config.WithCompilationCache(cache)
		if len(opts.Worker) > 0 {
			r.worker = &worker{command: opts.Worker, cacheDir: opts.CacheDir}
		}
	}
	if r.worker == nil && opts.Log != nil {
		opts.Log.Warn("modules are compiled in this process: only the static limits hold against one that takes long to compile")
	}
	r.engine = wazero.NewRuntimeWithConfig(ctx, config)
	if err := r.offerImports(ctx); err != nil {
		r.Close(ctx)
		return nil, err
	}
	return r, nil
}

// engineConfig is shared with the worker: another configuration would be another
// entry of the cache. One engine serves all modules, because wazero 1.12 mixes up
// type ids where several share a cache (#2511).
func engineConfig() wazero.RuntimeConfig {
	return wazero.NewRuntimeConfig().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(maxPages)
}

// privateDir makes dir for its owner alone, and refuses one that others can write to.
func privateDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the cache of compiled modules: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("make the cache of compiled modules: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("the cache of compiled modules %s can be written by others (mode %o): whoever writes there runs code in the host; run chmod 700 on it", dir, info.Mode().Perm())
	}
	return nil
}

// Close frees everything that the runtime has compiled.
func (r *Runtime) Close(ctx context.Context) error {
	var err error
	if r.engine != nil {
		err = r.engine.Close(ctx)
	}
	if r.cache != nil {
		if cerr := r.cache.Close(ctx); err == nil {
			err = cerr
		}
	}
	return err
}

func (r *Runtime) offerImports(ctx context.Context) error {
	for _, m := range []struct {
		name      string
		functions []hostFunction
	}{
		{abi.ImportModule, nativeFunctions()},
		{wasiModule, wasiFunctions()},
		{extismModule, extismFunctions()},
		{extismUserModule, extismUserFunctions()},
		{rewrite.ImportModule, meterFunctions()},
	} {
		builder := r.engine.NewHostModuleBuilder(m.name)
		for _, f := range m.functions {
			builder.NewFunctionBuilder().WithGoModuleFunction(f.run, f.params, f.results).Export(f.name)
		}
		if _, err := builder.Instantiate(ctx); err != nil {
			return fmt.Errorf("offer the imports of %s: %w", m.name, err)
		}
	}
	return nil
}
