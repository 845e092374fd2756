// Package toolchain builds guests: it compiles a directory of source with its
// language's own compiler and embeds the manifest beside it.
package toolchain

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// ManifestFile is the name of the manifest in a guest's directory.
const ManifestFile = "manifest.json"

// language is one that Build can compile.
type language struct {
	name string
	// finds names the files by which a guest in this language is known, for people;
	// is tells one from what its directory holds.
	finds   string
	is      func(files *listing) bool
	compile func(ctx context.Context, g *guestBuild) error
}

var languages = []language{
	{"Go", "*.go", func(f *listing) bool { return f.has(".go") }, compileGo},
	{"C", "*.c", func(f *listing) bool { return f.has(".c") }, compileC},
	{"Rust", "Cargo.toml", func(f *listing) bool { return f.named("Cargo.toml") }, compileRust},
	{"AssemblyScript", "package.json that depends on assemblyscript", func(f *listing) bool { return f.npm.dependsOn("assemblyscript") }, compileAssemblyScript},
	{"Zig", "build.zig or build.zig.zon", func(f *listing) bool { return f.named("build.zig") || f.named("build.zig.zon") }, compileZig},
	{"Java", "pom.xml", func(f *listing) bool { return f.named("pom.xml") }, compileJava},
	{"JavaScript", "*.js", func(f *listing) bool { return f.has(".js") && !f.npm.dependsOn("assemblyscript") }, compileJavaScript},
}

// guestBuild is a guest that is being built.
type guestBuild struct {
	dir string // of its source
	out string // where its compiler is to put the module
	tmp string // a directory that goes away after the build
	log io.Writer
	npm npmPackage // what its package.json says, if there is one

	manifest *abi.Manifest
}

// Build compiles the guest in dir, embeds its manifest and puts the module at
// out, all or nothing. Commands and what compilers say go to log. Its errors are
// of the codes module.not_found, module.invalid and failed.
func Build(ctx context.Context, dir, out string, log io.Writer) error {
	files, err := list(dir)
	if err != nil {
		return err
	}
	lang, err := detect(dir, files)
	if err != nil {
		return err
	}
	manifest, err := readManifest(dir)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "hexdag-build-")
	if err != nil {
		return failed(dir, "no directory to build in", err)
	}
	defer os.RemoveAll(tmp)
	g := &guestBuild{dir: dir, out: filepath.Join(tmp, "guest.wasm"), tmp: tmp, log: log, npm: files.npm, manifest: manifest}
	if err := lang.compile(ctx, g); err != nil {
		return err
	}
	wasm, err := os.ReadFile(g.out)
	if err != nil {
		return failed(dir, "the compiler left no module", err)
	}
	if wasm, err = finish(ctx, dir, wasm, manifest); err != nil {
		return err
	}
	if err := writeFile(out, wasm); err != nil {
		return failed(out, "the module cannot be written", err)
	}
	return nil
}

// finish strips a module, checks what it imports and embeds its manifest.
func finish(ctx context.Context, dir string, wasm []byte, manifest *abi.Manifest) ([]byte, error) {
	wasm, err := strip(ctx, wasm)
	if err != nil {
		return nil, invalid(dir, "the compiler made no core module", err.Error(), "build a core WebAssembly module, no component")
	}
	if err := check(dir, wasm); err != nil {
		return nil, err
	}
	if wasm, err = abi.EmbedManifest(wasm, manifest); err != nil {
		return nil, invalid(dir, "the manifest cannot be embedded", err.Error(), "mend "+ManifestFile)
	}
	return wasm, nil
}

// strip takes debugging data out of a module and, unless they are wanted, the names
// of its functions. What made it stays.
func strip(ctx context.Context, wasm []byte) ([]byte, error) {
	return abi.RemoveCustomSections(wasm, func(name string) bool {
		return name == "name" && !keepsNames(ctx) || name == "sourceMappingURL" || strings.HasPrefix(name, ".debug")
	})
}

// listing is what a guest's directory holds.
type listing struct {
	names []string
	npm   npmPackage
}

func list(dir string) (*listing, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "no guest here", Where: kernel.Where{File: dir}, Why: err.Error(),
			Fix: "name the directory that holds the guest's source and " + ManifestFile, Err: err}
	}
	files := &listing{}
	for _, entry := range entries {
		files.names = append(files.names, entry.Name())
	}
	if files.named("package.json") {
		files.npm, err = readPackage(filepath.Join(dir, "package.json"))
	}
	return files, err
}

func (f *listing) named(name string) bool { return slices.Contains(f.names, name) }

// has reports whether there is a source file with this ending, tests aside.
func (f *listing) has(suffix string) bool {
	return slices.ContainsFunc(f.names, func(name string) bool {
		stem, ok := strings.CutSuffix(name, suffix)
		return ok && !strings.HasSuffix(stem, "_test") && !strings.HasSuffix(stem, ".test")
	})
}

// detect finds the one language of a guest.
func detect(dir string, files *listing) (language, error) {
	var found []language
	var all, names []string
	for _, lang := range languages {
		all = append(all, lang.name+" ("+lang.finds+")")
		if lang.is(files) {
			found = append(found, lang)
			names = append(names, lang.finds)
		}
	}
	fix := "put the source of one language there: " + strings.Join(all, ", ") + "; build anything else with its own tools"
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return language{}, invalid(dir, "no source in a language that can be built", "it holds none of the files by which one is known, such as *.go", fix)
	}
	return language{}, invalid(dir, "source in more than one language", "it holds "+strings.Join(names, " and "), fix)
}

func readManifest(dir string) (*abi.Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, invalid(path, "the guest has no manifest", err.Error(),
			`write one, at least {"name": "my-guest", "version": "1.0.0"}, with the capabilities it needs`)
	}
	manifest, err := abi.ParseManifest(text)
	if err != nil {
		return nil, invalid(path, "the manifest cannot be used", err.Error(), "see abi/README.md, Manifest")
	}
	return manifest, nil
}

// writeFile writes a file that is there whole or not at all.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".hexdag-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

func invalid(path, what, why, fix string) error {
	return &kernel.Error{Code: kernel.CodeModuleInvalid, What: what, Where: kernel.Where{File: path}, Why: why, Fix: fix}
}

func failed(path, what string, err error) error {
	return &kernel.Error{Code: kernel.CodeFailed, What: what, Where: kernel.Where{File: path}, Why: fmt.Sprint(err), Err: err}
}
