package toolchain

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
)

// compileAssemblyScript builds assembly/index.ts with the compiler that npm has
// installed for the guest, or for a directory above it.
func compileAssemblyScript(ctx context.Context, g *guestBuild) error {
	const fix = "install Node.js, and run 'npm install' in the guest's folder"
	node, err := find("AssemblyScript", fix, "node")
	if err != nil {
		return err
	}
	asc, ok := upward(g.dir, filepath.Join("node_modules", "assemblyscript", "bin", "asc.js"))
	sdk, err := g.sdk()
	if err != nil {
		return err
	}
	if !ok {
		if asc, ok = upward(sdk, filepath.Join("node_modules", "assemblyscript", "bin", "asc.js")); !ok {
			return missing("no compiler for AssemblyScript", "there is no node_modules/assemblyscript in the guest's folder, or in one above it", fix)
		}
	}
	if err := os.Symlink(sdk, filepath.Join(g.tmp, "hexdag")); err != nil { // under the name by which it is imported
		return failed(g.dir, "the SDK cannot be linked", err)
	}
	// abort would be an import of its own; without one it is a trap.
	args := []string{asc, filepath.Join("assembly", "index.ts"), "--path", g.tmp, "-O3", "--noAssert", "--use", "abort=", "-o", g.out}
	return run(ctx, exec.CommandContext(ctx, node, args...), g.dir, g.log)
}
