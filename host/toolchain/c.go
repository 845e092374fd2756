package toolchain

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"slices"
)

// cFlags build a freestanding module. The stack is at the bottom of memory, where
// an overflow traps instead of running into the data.
var cFlags = []string{
	"--target=wasm32", "-std=c11", "-ffreestanding", "-nostdlib", "-mbulk-memory", "-O2", "-Wall", "-Wextra",
	"-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first", "-Wl,-z,stack-size=16384",
}

func compileC(ctx context.Context, g *guestBuild) error {
	compiler, err := find("C", "install clang and lld, for example with 'apt-get install -y clang-14 lld-14'", "clang-14", "clang")
	if err != nil {
		return err
	}
	sources, err := fs.Glob(os.DirFS(g.dir), "*.c")
	if err != nil {
		return failed(g.dir, "the source cannot be listed", err)
	}
	args := slices.Concat(stripped(ctx, cFlags), sources, []string{"-o", g.out})
	return run(ctx, exec.CommandContext(ctx, compiler, args...), g.dir, g.log)
}
