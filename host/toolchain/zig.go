package toolchain

import (
	"context"
	"os/exec"
	"path/filepath"
)

// compileZig runs the guest's build.zig, which installs one module.
func compileZig(ctx context.Context, g *guest) error {
	zig, args, err := findZig(ctx)
	if err != nil {
		return err
	}
	prefix := filepath.Join(g.tmp, "zig")
	cmd := exec.CommandContext(ctx, zig, append(args, "build", "--prefix", prefix, "--color", "off")...)
	if err := run(ctx, cmd, g.dir, g.log); err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(prefix, "bin", "*.wasm"))
	if err != nil || len(made) != 1 {
		return invalid(g.dir, "build.zig installs no module, or more than one", "hexdag build looks for one *.wasm under bin", "install the module alone, with b.installArtifact")
	}
	return copyFile(made[0], g.out)
}

// findZig looks for zig itself, and for the one that Python's package ziglang brings.
func findZig(ctx context.Context) (zig string, args []string, err error) {
	if zig, err = exec.LookPath("zig"); err == nil {
		return zig, nil, nil
	}
	for _, python := range []string{"python3", "python"} {
		path, err := exec.LookPath(python)
		if err == nil && exec.CommandContext(ctx, path, "-c", "import ziglang").Run() == nil {
			return path, []string{"-m", "ziglang"}, nil
		}
	}
	return "", nil, missing("no compiler for Zig", "there is neither zig on the PATH nor Python's package ziglang", "install Zig 0.17, for example with 'pip install ziglang==0.17.1'")
}
