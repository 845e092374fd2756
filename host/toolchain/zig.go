package toolchain

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

// zigSDK finds the SDK's folder in a guest's build.zig.zon.
var zigSDK = regexp.MustCompile(`\.hexdag\s*=\s*\.\{\s*\.path\s*=\s*"([^"]+)"`)

// compileZig runs the guest's build.zig, which installs one module. A guest that has
// none is compiled as what it is, src/main.zig and the SDK: this is quicker by
// far, since zig first compiles what runs a build.zig.
func compileZig(ctx context.Context, g *guestBuild) error {
	zig, args, err := findZig(ctx)
	if err != nil {
		return err
	}
	if exists(filepath.Join(g.dir, "build.zig")) {
		return zigBuild(ctx, g, zig, args)
	}
	const zon = "build.zig.zon"
	text, err := os.ReadFile(filepath.Join(g.dir, zon))
	if err != nil {
		return failed(g.dir, "the guest's "+zon+" cannot be read", err)
	}
	found := zigSDK.FindSubmatch(text)
	if found == nil {
		return invalid(filepath.Join(g.dir, zon), "the guest does not say where its SDK is", "there is no dependency hexdag with a path", `write .dependencies = .{ .hexdag = .{ .path = "PATH" } }`)
	}
	args = append(args, "build-exe", "-target", "wasm32-freestanding", "-mcpu", "baseline+bulk_memory", "-fno-entry", "-rdynamic", "-fstrip", "-O", "ReleaseSmall", "--stack", "65536",
		"--dep", "hexdag", "-Mroot="+filepath.Join("src", "main.zig"), "-Mhexdag="+filepath.Join(string(found[1]), "src", "hexdag.zig"),
		"--name", "guest", "--cache-dir", ".zig-cache", "-femit-bin="+g.out, "--color", "off")
	return run(ctx, exec.CommandContext(ctx, zig, args...), g.dir, g.log)
}

func zigBuild(ctx context.Context, g *guestBuild, zig string, args []string) error {
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
