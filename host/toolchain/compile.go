package toolchain

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// compileGo builds a module with the standard toolchain. Nothing of the machine
// gets into it, so that the same source and Go version give the same bytes.
func compileGo(ctx context.Context, dir, out string, log io.Writer) error {
	compiler, err := find("Go", "install Go 1.24 or newer from https://go.dev/dl", "go")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, compiler, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", goLinkerFlags(ctx), "-o", out, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOWASM=")
	return run(ctx, cmd, dir, log)
}

// cFlags build a freestanding module. The stack is at the bottom of memory, where
// an overflow traps instead of running into the data.
var cFlags = []string{
	"--target=wasm32", "-std=c11", "-ffreestanding", "-nostdlib", "-mbulk-memory", "-O2", "-Wall", "-Wextra",
	"-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first", "-Wl,-z,stack-size=16384",
}

func compileC(ctx context.Context, dir, out string, log io.Writer) error {
	compiler, err := find("C", "install clang and lld, for example with 'apt-get install -y clang-14 lld-14'", "clang-14", "clang")
	if err != nil {
		return err
	}
	sources, err := fs.Glob(os.DirFS(dir), "*.c")
	if err != nil {
		return failed(dir, "the source cannot be listed", err)
	}
	args := slices.Concat(stripped(ctx, cFlags), sources, []string{"-o", out})
	return run(ctx, exec.CommandContext(ctx, compiler, args...), dir, log)
}

func find(lang, fix string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", &kernel.Error{Code: kernel.CodeFailed, What: "no compiler for " + lang, Why: "there is no " + strings.Join(names, " or ") + " on the PATH", Fix: fix}
}

// maxShown bounds how much of what a compiler said an error repeats.
const maxShown = 2000

func run(ctx context.Context, cmd *exec.Cmd, dir string, log io.Writer) error {
	var said bytes.Buffer
	both := io.MultiWriter(log, &said)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = both, both // one writer: the process's two streams take turns
	err := cmd.Run()
	if ctx.Err() != nil {
		return failed(dir, "the build was stopped", context.Cause(ctx))
	}
	if err != nil {
		text := strings.ToValidUTF8(said.String(), "\uFFFD")
		return invalid(dir, "the guest does not compile", strings.TrimSpace(text[:min(len(text), maxShown)])+" ("+err.Error()+")", "mend its source")
	}
	return nil
}
