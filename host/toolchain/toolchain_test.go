package toolchain

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

const manifest = `{"name":"sample","version":"1.0.0","capabilities":["llm.complete"]}`

const goSource = `package main

//go:wasmexport node_before
func nodeBefore(uint32) uint64 { return 0 }

func main() {}
`

const cSource = `#include <stdint.h>
__attribute__((export_name("node_before"))) uint64_t node_before(uint32_t n) { return n & 0; }
`

// guest makes a directory with these files.
func guest(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func build(t *testing.T, dir string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out.wasm")
	var log bytes.Buffer
	if err := Build(t.Context(), dir, out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func checkSample(t *testing.T, wasm []byte) {
	t.Helper()
	m, err := abi.ReadManifest(wasm)
	if err != nil || m == nil || m.Name != "sample" || len(m.Capabilities) != 1 {
		t.Errorf("the manifest is %+v, %v", m, err)
	}
	if !bytes.Contains(wasm, []byte("\x0bnode_before\x00")) {
		t.Error("node_before is not exported")
	}
}

func TestBuildGo(t *testing.T) {
	dir := guest(t, map[string]string{"manifest.json": manifest, "go.mod": "module sample\n\ngo 1.26\n", "main.go": goSource})
	t.Setenv("GOFLAGS", "-tags=leaks")
	wasm := build(t, dir)
	checkSample(t, wasm)
	if bytes.Contains(wasm, []byte(dir)) {
		t.Error("the module holds the path of its source")
	}
}

func TestBuildC(t *testing.T) {
	testenv.NeedClang(t)
	dir := guest(t, map[string]string{"manifest.json": manifest, "sample.c": cSource})
	checkSample(t, build(t, dir))
}

func TestBuildRefuses(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		code  kernel.Code
		says  string
	}{
		{"no source", map[string]string{"manifest.json": manifest, "main.rs": ""}, kernel.CodeModuleInvalid, "Rust (Cargo.toml)"},
		{"only a test", map[string]string{"manifest.json": manifest, "main_test.go": goSource, "a.test.js": ""}, kernel.CodeModuleInvalid, "*.go"},
		{"package.json is none", map[string]string{"manifest.json": manifest, "package.json": "{"}, kernel.CodeModuleInvalid, "package.json cannot be read"},
		{"a script without an SDK", map[string]string{"manifest.json": manifest, "main.js": ""}, kernel.CodeModuleInvalid, "does not say where its SDK is"},
		{"a crate that is none", map[string]string{"manifest.json": manifest, "Cargo.toml": "[package]\n"}, kernel.CodeModuleInvalid, "does not compile"},
		{"no path of Zig's SDK", map[string]string{"manifest.json": manifest, "build.zig.zon": ".{}"}, kernel.CodeModuleInvalid, ".dependencies = .{ .hexdag"},
		{"two languages", map[string]string{"manifest.json": manifest, "main.go": goSource, "a.c": cSource}, kernel.CodeModuleInvalid, "more than one language"},
		{"no manifest", map[string]string{"main.go": goSource}, kernel.CodeModuleInvalid, "manifest"},
		{"a bad manifest", map[string]string{"main.go": goSource, "manifest.json": `{"name":"../x","version":"1.0.0"}`}, kernel.CodeModuleInvalid, "../x"},
		{"no Go", map[string]string{"manifest.json": manifest, "go.mod": "module sample\n", "main.go": "package main\nfunc main() { x }\n"}, kernel.CodeModuleInvalid, "undefined: x"},
	} {
		dir := guest(t, tc.files)
		out := filepath.Join(dir, "out.wasm")
		err := Build(t.Context(), dir, out, &bytes.Buffer{})
		if IsMissing(err) && os.Getenv("CI") == "" {
			t.Logf("%s: NOT CHECKED: %v", tc.name, err)
			continue
		}
		if kernel.CodeOf(err) != tc.code || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want %s and %q", tc.name, err, tc.code, tc.says)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: left a module behind", tc.name)
		}
	}
	if err := Build(t.Context(), "no/such/directory", "x", &bytes.Buffer{}); kernel.CodeOf(err) != kernel.CodeModuleNotFound {
		t.Errorf("no directory: %v", err)
	}
}

func TestMissingCompilerSaysHowToInstallIt(t *testing.T) {
	sdk := guest(t, map[string]string{"hexdag.js": ""})
	npm := `{"dependencies":{"hexdag":"file:` + sdk + `"},"devDependencies":{"assemblyscript":"*"}}`
	for _, tc := range []struct {
		fix   string
		files map[string]string
	}{
		{"go.dev/dl", map[string]string{"main.go": goSource}},
		{"apt-get install -y clang-14", map[string]string{"a.c": cSource}},
		{"npm install", map[string]string{"package.json": npm}},
		{"pip install ziglang", map[string]string{"build.zig.zon": ""}},
		{"wasi-libc", map[string]string{"main.js": ""}},
		{"maven", map[string]string{"pom.xml": ""}},
	} {
		tc.files["manifest.json"] = manifest
		dir := guest(t, tc.files)
		t.Setenv("PATH", t.TempDir())
		err := Build(t.Context(), dir, "x", &bytes.Buffer{})
		var e *kernel.Error
		if !errors.As(err, &e) || e.Code != kernel.CodeFailed || !strings.Contains(e.Fix, tc.fix) || !IsMissing(err) {
			t.Errorf("got %v, want a fix that names %s", err, tc.fix)
		}
	}
}

func TestMissingRust(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := findRust(t.Context(), "")
	var e *kernel.Error
	if !errors.As(err, &e) || !strings.Contains(e.Fix, "rustup target add wasm32-unknown-unknown") || !IsMissing(err) {
		t.Errorf("got %v", err)
	}
}

func TestBuildStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := guest(t, map[string]string{"manifest.json": manifest, "main.go": goSource, "go.mod": "module sample\n"})
	err := Build(ctx, dir, filepath.Join(dir, "out.wasm"), &bytes.Buffer{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestCheckedInModulesMatchTheirSource keeps the modules that are in the
// repository, so that running needs only Go, what their source says.
func TestCheckedInModulesMatchTheirSource(t *testing.T) {
	testenv.NeedClang(t)
	for _, name := range []string{"token-budget"} {
		dir := filepath.Join("..", "..", "guests", name)
		checkedIn, err := os.ReadFile(filepath.Join(dir, name+".wasm"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(build(t, dir), checkedIn) {
			t.Errorf("guests/%s/%s.wasm is not what its source gives; run 'hexdag build guests/%s' with clang-14", name, name, name)
		}
	}
}

func TestCheckRefusesWhatNoHostLoads(t *testing.T) {
	testenv.NeedClang(t)
	for _, tc := range []struct{ name, source, says string }{
		{"an import", `__attribute__((import_module("env"), import_name("puts"))) int puts(const char *s);
__attribute__((export_name("node_before"))) unsigned long long f(unsigned n) { return puts((char *)n); }
`, `imports env.puts`},
		{"no extension point", `__attribute__((export_name("node_befor"))) unsigned long long f(unsigned n) { return n; }
`, "exports no extension point"},
	} {
		dir := guest(t, map[string]string{"manifest.json": manifest, "a.c": tc.source})
		out := filepath.Join(dir, "out.wasm")
		err := Build(t.Context(), dir, out, &bytes.Buffer{})
		if kernel.CodeOf(err) != kernel.CodeModuleInvalid || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if exists(out) {
			t.Errorf("%s: left a module behind", tc.name)
		}
	}
}

func TestBuildsAreStripped(t *testing.T) {
	named, err := abi.AppendCustomSection([]byte("\x00asm\x01\x00\x00\x00"), "name", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := abi.AppendCustomSection(named, "producers", []byte("clang"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = finish(t.Context(), "guest", kept, &abi.Manifest{Name: "a", Version: "1.0.0"})
	if err == nil || !strings.Contains(err.Error(), "exports no") {
		t.Errorf("a module that is empty: %v", err)
	}
	stripped, err := strip(t.Context(), kept)
	if err != nil || bytes.Contains(stripped, []byte("secret")) || !bytes.Contains(stripped, []byte("clang")) {
		t.Errorf("%q, %v", stripped, err)
	}
}

func TestScripts(t *testing.T) {
	sdk := guest(t, map[string]string{"hexdag.js": "sdk"})
	dir := guest(t, map[string]string{
		"helper.js": "export function tool_call() {}", "main.test.js": "",
		"main.js": "import './helper.js'\nexport const node_before = 1\nexport function other() {}\n  export function node_after() {}\nexport function node_run(c) {}",
	})
	g := &guestBuild{dir: dir}
	list, points, err := g.scripts(sdk)
	if err != nil || len(list) != 3 || list[0].name != "main.js" || list[1].name != "helper.js" || list[2].name != "hexdag" || strings.Join(points, " ") != "node_before node_run" {
		t.Errorf("%v %v %v", list, points, err)
	}
	dir = guest(t, map[string]string{"main.js": "function node_before() {}"})
	g = &guestBuild{dir: dir}
	if _, _, err := g.scripts(sdk); err == nil || !strings.Contains(err.Error(), "exports no extension point") {
		t.Errorf("%v", err)
	}
}

func TestArtifact(t *testing.T) {
	const messages = `{"reason":"compiler-artifact","filenames":["/t/libhexdag.rlib"]}
{"reason":"compiler-artifact","filenames":["/t/probe.wasm"]}
{"reason":"build-finished","success":true}
`
	if wasm, err := artifact([]byte(messages)); wasm != "/t/probe.wasm" || err != nil {
		t.Errorf("%q, %v", wasm, err)
	}
	if wasm, _ := artifact([]byte(`{"reason":"compiler-artifact","filenames":["/t/a.rlib"]}`)); wasm != "" {
		t.Errorf("%q", wasm)
	}
	if _, err := artifact([]byte(`{`)); err == nil {
		t.Error("no error")
	}
}
