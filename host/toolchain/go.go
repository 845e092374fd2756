package toolchain

import (
	"context"
	"os"
	"os/exec"
)

// compileGo builds a module with the standard toolchain. Nothing of the machine
// gets into it, so that the same source and Go version give the same bytes.
func compileGo(ctx context.Context, g *guestBuild) error {
	compiler, err := find("Go", "install Go 1.24 or newer from https://go.dev/dl", "go")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, compiler, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", goLinkerFlags(ctx), "-o", g.out, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "GOEXPERIMENT=", "GOWASM=")
	return run(ctx, cmd, g.dir, g.log)
}
