package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/testenv"
)

// compilers are what languages need beside Go, and what to install. "make toolchains"
// installs all of them.
var compilers = map[string]struct {
	there func() bool
	what  string
}{
	"c":              {onPath("clang-14"), "clang-14 lld-14"},
	"rust":           {onPath("cargo"), "cargo, rustc and libstd-rust-dev-wasm32"},
	"zig":            {func() bool { return onPath("zig")() || exec.Command("python3", "-c", "import ziglang").Run() == nil }, "Zig 0.17"},
	"assemblyscript": {isThere(npmModules), "assemblyscript, from npm"},
	"javascript":     {isThere(filepath.Join(quickJS, "vendor")), "QuickJS's source, from crates.io"},
	"java":           {onPath("mvn"), "openjdk-17-jdk-headless maven"},
}

// npmModules is where "make toolchains" has npm install AssemblyScript's compiler.
const npmModules = "../../../guests/sdk/assemblyscript/node_modules"

// quickJS is where it has cargo put JavaScript's engine.
const quickJS = "../../../guests/sdk/js/engine"

func isThere(path string) func() bool {
	return func() bool { _, err := os.Stat(path); return err == nil }
}

func onPath(program string) func() bool {
	return func() bool { _, err := exec.LookPath(program); return err == nil }
}

// TestNew makes a project of each kind in each language, builds it and runs its tests.
func TestNew(t *testing.T) {
	for _, kind := range host.ProjectKinds() {
		for _, lang := range host.ProjectLanguages(kind) {
			t.Run(kind+" "+lang, func(t *testing.T) {
				if testing.Short() || testenv.Race {
					t.Skip("compiles, for minutes, in seven languages")
				}
				if c, ok := compilers[lang]; ok && !c.there() {
					testenv.Missing(t, c.what+"; run 'make toolchains'")
				}
				dir := filepath.Join(t.TempDir(), "my-"+kind)
				r := cli(t, "", "new", kind, "my-"+kind, "--lang", lang, "--dir", dir)
				r.wants(t, exitDone, "README.md", "next: hexdag ")
				_, next, _ := strings.Cut(strings.TrimSpace(r.out), "next: hexdag ")
				switch lang {
				case "assemblyscript": // in place of npm install
					link(t, npmModules, filepath.Join(dir, "node_modules"))
				case "javascript": // in place of cargo vendor
					link(t, filepath.Join(quickJS, "vendor"), filepath.Join(dir, "sdk/js/engine/vendor"))
					shareEngine(t, dir)
				}
				cli(t, "", strings.Fields(next)...).wants(t, exitDone, ", 0 failed")
				switch lang {
				case "go":
					test := exec.CommandContext(t.Context(), "go", "test", ".")
					test.Dir = dir
					test.Env = append(os.Environ(), "GOFLAGS=", "GOPROXY=off", "GOWORK=off")
					if out, err := test.CombinedOutput(); err != nil {
						t.Errorf("go test: %v\n%s", err, out)
					}
				case "rego":
					bundle := filepath.Join(dir, "p.tar.gz")
					cli(t, "", "policy", "build", dir, "-o", bundle).wants(t, exitDone, "hexdag/authz/decision")
					cli(t, "", "policy", "eval", bundle, "--input", `{"action": {"name": "database.query"}, "resource": {"id": "payroll"}}`).wants(t, exitDone, `"effect":"deny"`, "tables.closed")
				}
			})
		}
	}
}

func link(t *testing.T, from, to string) {
	t.Helper()
	from, err := filepath.Abs(from)
	if err == nil {
		err = os.Symlink(from, to)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// shareEngine has a project use what is compiled of the repository's engine, which is
// the same: compiling it takes a quarter of a minute.
func shareEngine(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(quickJS, "target"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, filepath.Join(quickJS, "target"), filepath.Join(dir, "sdk/js/engine/target"))
	old := time.Unix(0, 0)
	for _, name := range []string{"js/engine/Cargo.toml", "js/engine/engine.c", "c/hexdag.h"} {
		if err := os.Chtimes(filepath.Join(dir, "sdk", name), old, old); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	cli(t, "", "new", "hook", "A").refuses(t, exitBadInput, "input.invalid", "lower-case")
	cli(t, "", "new", "ports", "a").refuses(t, exitBadInput, "input.invalid", "did you mean port?")
	cli(t, "", "new", "hook", "a", "--lang", "rego").refuses(t, exitBadInput, "input.invalid", "name one of ")
	dir := t.TempDir()
	cli(t, "", "new", "hook", "a", "--dir", filepath.Dir(dir)).refuses(t, exitFailed, "not empty")
}

func TestPolicyTest(t *testing.T) {
	at := folder(t, map[string]string{
		"bad/p.rego": "package p\n\nx := 1\n", "bad/p_test.rego": "package p_test\n\nimport data.p\n\ntest_two if p.x == 2\n\ntest_one if p.x == 1\n", "none/p.rego": "package p\n\nx := 1\n",
	})
	cli(t, "", "policy", "test", at("bad")).wants(t, exitFailed, "FAIL ", "p_test.rego:5", "p_test.test_two", "2 tests, 1 failed")
	cli(t, "", "policy", "test", at("none")).refuses(t, exitBadInput, "there are no tests")
	cli(t, "", "policy", "test", at("gone")).refuses(t, exitBadInput, "policy.invalid")
}
