// Package sandbox turns untrusted WebAssembly into calls that cannot harm the
// host: bytes are checked, rewritten (package rewrite), compiled in a process
// that can be killed, instantiated, and each call gets documents, limits and
// nothing else. What a guest may reach is decided by the Host that a call is
// given.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
)

// Runtime compiles and runs modules. It is safe for concurrent use.
type Runtime struct {
	engine engine
	worker *worker // nil: modules are compiled in this process

	tenants tenants
	turns   turns
	scanner pageScanner

	mu       sync.Mutex // wazero 1.12 does not like compiling and closing at once (#2453)
	compiled map[string]*compiled
}

// compiled is a compiled module that several Modules share: closing one of two
// equal ones in wazero 1.12 breaks the other (#2336).
type compiled struct {
	code  code
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
	// Engine runs the modules; "" means Wazero.
	Engine Engine
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
	open, err := opts.Engine.opener()
	if err != nil {
		return nil, err
	}
	r := &Runtime{compiled: map[string]*compiled{}}
	r.tenants.limits = opts.Tenants.Or(DefaultTenantLimits())
	if opts.CacheDir != "" {
		if err := privateDir(opts.CacheDir); err != nil {
			return nil, err
		}
		if len(opts.Worker) > 0 && opts.Engine != Interpreter { // which compiles nothing
			r.worker = &worker{command: opts.Worker, cacheDir: opts.CacheDir, engine: opts.Engine}
		}
	}
	if r.worker == nil && opts.Log != nil && opts.Engine != Interpreter {
		opts.Log.Warn("modules are compiled in this process: only the static limits hold against one that takes long to compile")
	}
	if r.engine, err = open(ctx, opts.CacheDir); err != nil {
		return nil, err
	}
	return r, nil
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
	return errors.Join(r.engine.close(ctx), r.scanner.close())
}
