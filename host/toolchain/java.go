package toolchain

import (
	"context"
	"os/exec"
	"path/filepath"
)

// compileJava runs the guest's pom.xml to the phase in which TeaVM compiles, which
// leaves one module under target/wasm.
func compileJava(ctx context.Context, g *guestBuild) error {
	mvn, err := find("Java", "install a JDK of 17 or newer and Maven, for example with 'apt-get install -y openjdk-17-jdk-headless maven'", "mvn")
	if err != nil {
		return err
	}
	if err := run(ctx, exec.CommandContext(ctx, mvn, "-q", "-B", "-Dstyle.color=never", "process-classes"), g.dir, g.log); err != nil {
		return err
	}
	made, err := filepath.Glob(filepath.Join(g.dir, "target", "wasm", "*.wasm"))
	if err != nil || len(made) != 1 {
		return invalid(g.dir, "TeaVM left no module, or more than one", "hexdag build looks for one *.wasm under target/wasm", "set targetType WEBASSEMBLY_WASI and targetDirectory of teavm-maven-plugin, as guests/sdk/java/example/pom.xml does")
	}
	return copyFile(made[0], g.out)
}
