// Package toolchain builds guests: it compiles a directory of source with its
// language's own compiler and embeds the manifest beside it.
package toolchain

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// ManifestFile is the name of the manifest in a guest's directory.
const ManifestFile = "manifest.json"

// language is one that Build can compile.
type language struct {
	name    string
	suffix  string // of its source files
	compile func(ctx context.Context, dir, out string, log io.Writer) error
}

var languages = []language{
	{"Go", ".go", compileGo},
	{"C", ".c", compileC},
}

// Build compiles the guest in dir, embeds its manifest and puts the module at
// out, all or nothing. Commands and what compilers say go to log. Its errors are
// of the codes module.not_found, module.invalid and failed.
func Build(ctx context.Context, dir, out string, log io.Writer) error {
	lang, err := detect(dir)
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
	compiled := filepath.Join(tmp, "guest.wasm")
	if err := lang.compile(ctx, dir, compiled, log); err != nil {
		return err
	}
	wasm, err := os.ReadFile(compiled)
	if err != nil {
		return failed(dir, "the compiler left no module", err)
	}
	if wasm, err = abi.EmbedManifest(wasm, manifest); err != nil {
		return invalid(dir, "the manifest cannot be embedded", err.Error(), "mend "+ManifestFile)
	}
	if err := writeFile(out, wasm); err != nil {
		return failed(out, "the module cannot be written", err)
	}
	return nil
}

// detect finds the one language that the source files in dir are of.
func detect(dir string) (language, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return language{}, &kernel.Error{Code: kernel.CodeModuleNotFound, What: "no guest here", Where: kernel.Where{File: dir}, Why: err.Error(),
			Fix: "name the directory that holds the guest's source and " + ManifestFile, Err: err}
	}
	var found []language
	for _, lang := range languages {
		for _, entry := range entries {
			name := entry.Name()
			if filepath.Ext(name) == lang.suffix && !strings.HasSuffix(name, "_test.go") {
				found = append(found, lang)
				break
			}
		}
	}
	const fix = "put Go (*.go) or C (*.c) source there, one language in a directory; build anything else with its own tools"
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return language{}, invalid(dir, "no source in a language that can be built", "it holds neither *.go nor *.c", fix)
	}
	return language{}, invalid(dir, "source in more than one language", "it holds both *.go and *.c", fix)
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
