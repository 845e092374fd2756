package toolchain

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// quickJS is where the engine's source is in the SDK, and what of it is compiled.
const quickJS = "engine/vendor/rquickjs-sys/quickjs"

var quickJSFiles = []string{"quickjs.c", "libregexp.c", "libunicode.c", "dtoa.c"}

// wasiFlags build for a C library that reaches the host's stub of WASI alone.
var wasiFlags = []string{"--target=wasm32-wasi", "-std=gnu11", "-O2", "-mbulk-memory", "-D_GNU_SOURCE", "-D_WASI_EMULATED_SIGNAL"}

// exportSyntax finds the extension points that a script serves.
var exportSyntax = regexp.MustCompile(`(?m)^export\s+(?:function|const|let)\s+([a-z_]+)\b`)

// compileJavaScript links the engine with the guest's scripts, which are data to it.
// The engine is compiled once, in the SDK's folder.
func compileJavaScript(ctx context.Context, g *guestBuild) error {
	const fix = "install clang, lld and WASI's C library, for example with 'apt-get install -y clang-14 lld-14 wasi-libc libclang-rt-14-dev-wasm32'"
	clang, err := find("JavaScript's engine", fix, "clang-14", "clang")
	if err != nil {
		return err
	}
	sdk, err := g.sdk()
	if err != nil {
		return err
	}
	scripts, points, err := g.scripts(sdk)
	if err != nil {
		return err
	}
	engine, err := buildEngine(ctx, g, clang, sdk)
	if err != nil {
		return err
	}
	data := filepath.Join(g.tmp, "scripts.c")
	if err := os.WriteFile(data, scriptsSource(sdk, scripts, points, g.manifest), 0o600); err != nil {
		return failed(g.dir, "the scripts cannot be written", err)
	}
	args := slices.Concat(wasiFlags, engine, []string{data, "-mexec-model=reactor", "-Wl,--strip-all", "-Wl,--stack-first", "-Wl,-z,stack-size=1048576", "-lwasi-emulated-signal", "-o", g.out})
	return run(ctx, exec.CommandContext(ctx, clang, args...), g.dir, g.log)
}

// script is a module in JavaScript.
type script struct {
	name string
	text []byte
}

// scripts returns the guest's modules, the first of which exports its extension
// points, and the SDK's.
func (g *guestBuild) scripts(sdk string) (list []script, points []string, err error) {
	files, err := filepath.Glob(filepath.Join(g.dir, "*.js"))
	if err != nil {
		return nil, nil, failed(g.dir, "the source cannot be listed", err)
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, ".test.js") })
	slices.SortFunc(files, func(a, b string) int { // main.js comes first
		return strings.Compare(strings.TrimSuffix(a, "main.js"), strings.TrimSuffix(b, "main.js"))
	})
	for _, file := range append(files, filepath.Join(sdk, "hexdag.js")) {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, failed(file, "the script cannot be read", err)
		}
		list = append(list, script{filepath.Base(file), text})
	}
	list[len(list)-1].name = "hexdag" // by which it is imported
	for _, m := range exportSyntax.FindAllSubmatch(list[0].text, -1) {
		if slices.Contains(abi.Points(), abi.Point(m[1])) {
			points = append(points, string(m[1]))
		}
	}
	if len(points) == 0 {
		return nil, nil, invalid(filepath.Join(g.dir, list[0].name), "the script exports no extension point", "none of its exports is one of "+fmt.Sprint(abi.Points()),
			"write export function node_before(call) { ... }, or another of them")
	}
	return list, points, nil
}

// scriptsSource is the scripts, the exports that serve them and the imports that the
// manifest has requests for, in C.
func scriptsSource(sdk string, scripts []script, points []string, manifest *abi.Manifest) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "#include <stddef.h>\n#include \"%s\"\n", filepath.Join(sdk, "..", "c", "hexdag.h"))
	for i, s := range scripts {
		fmt.Fprintf(&b, "static const char script_%d[] = {", i)
		for _, c := range s.text {
			fmt.Fprintf(&b, "%d,", int8(c))
		}
		b.WriteString("0};\n")
	}
	b.WriteString("const struct { const char *name, *text; size_t len; } hexdag_scripts[] = {\n")
	for i, s := range scripts {
		fmt.Fprintf(&b, "{%q, script_%d, sizeof script_%d - 1},\n", s.name, i, i)
	}
	b.WriteString("{0, 0, 0}};\nuint64_t hexdag_js(const char *point);\n")
	for _, p := range points {
		fmt.Fprintf(&b, "HEXDAG_EXPORT(%s) { return hexdag_js(%q); }\n", p, p)
	}
	calls := slices.ContainsFunc(manifest.Capabilities, func(c abi.Capability) bool { return c.Op != abi.OpClock && c.Op != abi.OpRandom })
	for _, f := range []struct {
		requested       bool
		signature, call string
	}{
		{calls, "int32_t hexdag_engine_call(const char *op, uint32_t op_len, const void *body, uint32_t body_len)", "hexdag_call(op, op_len, 0, 0, body, body_len)"},
		{requests(manifest, abi.OpClock), "int64_t hexdag_engine_clock(uint32_t id)", "hexdag_clock(id)"},
		{requests(manifest, abi.OpRandom), "int32_t hexdag_engine_random(void *ptr, uint32_t len)", "hexdag_random(ptr, len)"},
	} {
		if !f.requested {
			f.call = "HEXDAG_DENIED"
		}
		fmt.Fprintf(&b, "%s { return %s; }\n", f.signature, f.call)
	}
	return []byte(b.String())
}

func requests(m *abi.Manifest, op string) bool {
	return slices.ContainsFunc(m.Capabilities, func(c abi.Capability) bool { return c.Op == op })
}

// buildEngine compiles what of the engine is not compiled, or older than its source,
// and returns the object files.
func buildEngine(ctx context.Context, g *guestBuild, clang, sdk string) ([]string, error) {
	source := filepath.Join(sdk, quickJS)
	if !exists(source) {
		return nil, missing("no source of JavaScript's engine", "there is no "+kernel.Quote(source), "run 'cargo vendor' in "+filepath.Join(sdk, "engine"))
	}
	target := filepath.Join(sdk, "engine", "target")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return nil, failed(target, "no directory for the engine", err)
	}
	files := []string{filepath.Join(sdk, "engine", "engine.c")}
	for _, name := range quickJSFiles {
		files = append(files, filepath.Join(source, name))
	}
	// The vendored files are as old as their crate says; Cargo.toml changes with its version.
	newest := later(modified(filepath.Join(sdk, "engine", "Cargo.toml")), modified(filepath.Join(sdk, "..", "c", "hexdag.h")))
	var objects []string
	for _, file := range files {
		object := filepath.Join(target, strings.TrimSuffix(filepath.Base(file), ".c")+".o")
		objects = append(objects, object)
		if modified(object).After(later(newest, modified(file))) {
			continue
		}
		// A name of its own until it is whole: two builds may run at once.
		tmp := filepath.Join(g.tmp, filepath.Base(object))
		args := slices.Concat(wasiFlags, []string{"-w", "-ffile-prefix-map=" + sdk + "=sdk", "-I", source, "-c", file, "-o", tmp})
		if err := run(ctx, exec.CommandContext(ctx, clang, args...), g.dir, g.log); err != nil {
			return nil, err
		}
		text, err := os.ReadFile(tmp)
		if err == nil {
			err = writeFile(object, text)
		}
		if err != nil {
			return nil, failed(object, "the engine cannot be written", err)
		}
	}
	return objects, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// modified is when a file was, the beginning of time if there is none.
func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
