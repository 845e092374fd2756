package toolchain

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

const rustTarget = "wasm32-unknown-unknown"

// compileRust builds a crate of the type cdylib. A target directory of the crate's
// own makes the next build quick.
func compileRust(ctx context.Context, g *guestBuild) error {
	cargo, rustc, err := findRust(ctx, "", "/usr/bin") // where Debian's is, beside rustup's
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, cargo, "build", "--release", "--target", rustTarget, "--message-format", "json-render-diagnostics")
	// Nothing of the machine gets into the module: panics name the paths of sources.
	flags := "-C target-feature=+bulk-memory -C strip=symbols --remap-path-prefix=" + home() + "=/home"
	if abs, err := filepath.Abs(filepath.Join(g.dir, "..")); err == nil {
		flags += " --remap-path-prefix=" + abs + "=/src"
	}
	cmd.Env = append(os.Environ(), "RUSTC="+rustc, "RUSTFLAGS="+flags, "CARGO_TERM_COLOR=never")
	var messages bytes.Buffer
	cmd.Dir, cmd.Stdout = g.dir, &messages
	if err := runTo(ctx, cmd, g.log, false); err != nil {
		return err
	}
	wasm, err := artifact(messages.Bytes())
	if err != nil || wasm == "" {
		return invalid(g.dir, "cargo made no WebAssembly module", "the crate is of another type than cdylib", `write crate-type = ["cdylib"] under [lib] of Cargo.toml`)
	}
	return copyFile(wasm, g.out)
}

// artifact finds the module in cargo's messages.
func artifact(messages []byte) (wasm string, err error) {
	d := json.NewDecoder(bytes.NewReader(messages))
	for {
		var m struct {
			Reason    string
			Filenames []string
		}
		if err := d.Decode(&m); err == io.EOF {
			return wasm, nil
		} else if err != nil {
			return "", err
		}
		for _, name := range m.Filenames {
			if m.Reason == "compiler-artifact" && strings.HasSuffix(name, ".wasm") {
				wasm = name
			}
		}
	}
}

// findRust looks in dirs, of which "" is the PATH, for a compiler that has the
// target's library, and for the cargo that goes with it.
func findRust(ctx context.Context, dirs ...string) (cargo, rustc string, err error) {
	const fix = "run 'rustup target add " + rustTarget + "', or 'apt-get install -y cargo rustc libstd-rust-dev-wasm32 lld'"
	why := "there is no cargo and rustc on the PATH"
	for _, dir := range dirs {
		cargo, cargoErr := exec.LookPath(filepath.Join(dir, "cargo"))
		rustc, rustcErr := exec.LookPath(filepath.Join(dir, "rustc"))
		if cargoErr != nil || rustcErr != nil {
			continue
		}
		lib, err := exec.CommandContext(ctx, rustc, "--print", "target-libdir", "--target", rustTarget).Output()
		if _, statErr := os.Stat(strings.TrimSpace(string(lib))); err == nil && statErr == nil {
			return cargo, rustc, nil
		}
		why = rustc + " has no library for " + rustTarget
	}
	return "", "", missing("no compiler for Rust", why, fix)
}

func home() string {
	dir, err := os.UserHomeDir()
	if err != nil {
		return "/nonexistent"
	}
	return dir
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "what the compiler made cannot be read", Where: kernel.Where{File: from}, Why: err.Error(), Err: err}
	}
	return nil
}
