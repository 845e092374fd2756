package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// compile returns the compiled form of a rewritten module, from this process,
// the cache or the worker. digest is the original's, for the quarantine.
func (r *Runtime) compile(ctx context.Context, wasm []byte, digest string) (string, *compiled, error) {
	sum := sha256.Sum256(append([]byte(rewrite.Version), wasm...))
	key := hex.EncodeToString(sum[:])
	if r.worker != nil { // without the lock: one that takes a minute holds up nobody
		if err := r.worker.compile(ctx, wasm, key, digest); err != nil {
			return "", nil, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if c, ok := r.compiled[key]; ok {
		c.users++
		return key, c, nil
	}
	code, err := r.engine.compile(ctx, wasm)
	if err != nil {
		return "", nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module does not compile", Why: firstLine(err),
			Fix: "build it for core WebAssembly 2.0, without threads, tail calls, exceptions or 64-bit memory", Err: err}
	}
	c := &compiled{code: code, users: 1}
	r.compiled[key] = c
	return key, c, nil
}

// release closes the compiled form of a module that nobody uses any more.
func (r *Runtime) release(ctx context.Context, key string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, ok := r.compiled[key]
	if !ok {
		return nil
	}
	if c.users--; c.users > 0 {
		return nil
	}
	delete(r.compiled, key)
	return c.code.close(ctx)
}

// worker compiles modules in processes of their own, because wazero's compiler
// cannot be stopped: 18 KB of nested loops take it half a minute.
type worker struct {
	command  []string
	cacheDir string
	engine   Engine
}

// Bounds of one compilation.
const (
	compileDeadline = 60 * time.Second
	compileMemory   = 4 << 30 // bytes of address space
)

// compiledMark begins the names of files that say that a module is in the cache.
const compiledMark = "compiled-"

// compile fills the cache with a module, unless it is there. A module that
// cannot be compiled in time and memory is quarantined.
func (w *worker) compile(ctx context.Context, wasm []byte, key, digest string) error {
	done := filepath.Join(w.cacheDir, compiledMark+string(w.engine.orDefault())+"-"+key)
	quarantine := filepath.Join(w.cacheDir, "quarantine-"+strings.TrimPrefix(digest, "sha256:"))
	if _, err := os.Stat(done); err == nil {
		return nil
	}
	if why, err := os.ReadFile(quarantine); err == nil {
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module is quarantined", Why: kernel.Quote(string(why)), Fix: "build it smaller; to try again, remove " + quarantine}
	}
	limited, cancel := context.WithTimeout(ctx, compileDeadline)
	defer cancel()
	cmd := exec.CommandContext(limited, w.command[0], append(w.command[1:len(w.command):len(w.command)], w.cacheDir)...)
	cmd.Stdin = bytes.NewReader(wasm)
	cmd.Env = []string{workerMark + "=" + string(w.engine.orDefault())} // none of the host's secrets
	cmd.WaitDelay = time.Second
	said := &head{limit: 4 << 10}
	cmd.Stderr = said
	err := cmd.Run()
	if ctx.Err() != nil {
		return kernel.ContextError(ctx)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return os.WriteFile(done, nil, 0o600)
	case errors.As(err, &exit) && exit.ExitCode() == workerRefused:
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module does not compile", Why: kernel.Quote(said.text()),
			Fix: "build it for core WebAssembly 2.0, without threads, tail calls, exceptions or 64-bit memory"}
	case !errors.As(err, &exit):
		return &kernel.Error{Code: kernel.CodeInternal, What: "the compile worker cannot be started", Why: err.Error(), Fix: "see sandbox.Options.Worker", Err: err}
	}
	why := fmt.Sprintf("compiling it took more than %s or %d bytes of memory (%s)", compileDeadline, int64(compileMemory), err)
	if werr := os.WriteFile(quarantine, []byte(why), 0o600); werr != nil {
		why += "; it could not be put into quarantine: " + werr.Error()
	}
	return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module cannot be compiled within the limits", Why: kernel.Quote(why), Fix: "build it smaller, with less nesting", Err: err}
}

// head keeps the beginning of what is written to it.
type head struct {
	limit int
	kept  []byte
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}

func (h *head) text() string { return strings.TrimSpace(string(h.kept)) }

// workerMark is the environment variable that tells a process that it is a
// worker: one that opens a runtime all the same, because its program does not
// know that it is to call CompileWorker, would start itself without end.
const workerMark = "HEXDAG_COMPILE_WORKER"

// workerRefused is the worker's exit code for a module that is not valid.
const workerRefused = 3

// CompileWorker is the program that Options.Worker names: it compiles the module
// on in into the cache and returns the process's exit code. It limits its own
// memory, so it is to be the only thing that its process does.
func CompileWorker(ctx context.Context, cacheDir string, in io.Reader, errOut io.Writer) int {
	if err := limitMemory(compileMemory); err != nil {
		fmt.Fprintln(errOut, err)
		return 1
	}
	if err := compileInto(ctx, cacheDir, in); err != nil {
		fmt.Fprintln(errOut, firstLine(err))
		return workerRefused
	}
	return 0
}

func compileInto(ctx context.Context, cacheDir string, in io.Reader) error {
	wasm, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	open, err := Engine(os.Getenv(workerMark)).opener()
	if err != nil {
		return err
	}
	engine, err := open(ctx, cacheDir)
	if err != nil {
		return err
	}
	_, err = engine.compile(ctx, wasm)
	return errors.Join(err, engine.close(ctx))
}
