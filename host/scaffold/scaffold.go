// Package scaffold makes projects to begin with: a hook, a hook around port calls, a
// tool, a node's body, a port or an observer of events in one of several languages,
// or a policy. What it makes builds, with the SDK beside it, and has tests that pass.
//
// Adding a language is a folder, templates/languages/LANGUAGE/KIND, and where its SDK
// is not to be had from a registry, a line in sdks. What all languages have in
// common, the manifest, the cases and the page, is in templates/kinds.
package scaffold

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

//go:embed templates sdk
var files embed.FS

const (
	kindsDir     = "templates/kinds"
	languagesDir = "templates/languages"
	// shared is the folder of what all kinds of a language have.
	shared = "all"
	suffix = ".tmpl"
)

// sdk is an SDK that projects carry with them, since no registry has it: an archive in
// sdk/, made of the repository's folder guests/sdk/from by 'go test -update'. A language
// whose SDK needs another's takes the files of both, from "".
type sdk struct {
	lang string
	from string
	to   string // folder of the project
	keep func(name string) bool
}

var sdks = []sdk{
	{"go", "go", "sdk", func(name string) bool {
		return name == "go.mod" || strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	}},
	{"c", "c", "", func(name string) bool { return name == "hexdag.h" }},
	{"rust", "rust", "sdk", func(name string) bool { return name == "Cargo.toml" || strings.HasPrefix(name, "src/") }},
	{"zig", "zig", "sdk", func(name string) bool {
		return strings.HasPrefix(name, "build.zig") || strings.HasPrefix(name, "src/")
	}},
	{"assemblyscript", "assemblyscript", "sdk", func(name string) bool { return name == "package.json" || strings.HasPrefix(name, "assembly/") }},
	{"javascript", "", "sdk", func(name string) bool {
		return name == "c/hexdag.h" || slices.Contains([]string{"js/hexdag.js", "js/package.json", "js/engine/Cargo.toml", "js/engine/engine.c", "js/engine/src/none.rs"}, name)
	}},
	{"java", "java", "sdk", func(name string) bool { return strings.HasPrefix(name, "src/") }},
}

// fuel bounds what the cases of a new project may use, by its language: an engine that
// interprets, or a runtime with a collector, uses more for the same.
var fuel = map[string]int{"javascript": 1_000_000, "java": 500_000}

const defaultFuel = 100_000

// aliases are further names of languages.
var aliases = map[string]string{"ts": "assemblyscript", "typescript": "assemblyscript", "js": "javascript", "cpp": "c", "c++": "c", "rs": "rust", "golang": "go"}

// Project is what to make.
type Project struct {
	Kind string // of Kinds
	Lang string // of Languages, or ts or js; "" means the first that there is of go and rego
	Name string // of the module, by the manifest's rules
	Dir  string // to make, or one that is empty
}

// point is the extension point that a kind of project begins with.
var points = map[string]abi.Point{"hook": abi.NodeBefore, "porthook": abi.PortBefore, "tool": abi.ToolCall, "node": abi.NodeRun, "port": abi.PortCall, "observer": abi.Observe}

// Kinds lists the kinds of projects.
func Kinds() []string {
	kinds := []string{"policy"}
	for kind := range points {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// Languages lists the languages in which there is a kind of project.
func Languages(kind string) []string {
	entries, _ := files.ReadDir(languagesDir) // embedded
	var list []string
	for _, e := range entries {
		if info, err := fs.Stat(files, path.Join(languagesDir, e.Name(), kind)); err == nil && info.IsDir() {
			list = append(list, e.Name())
		}
	}
	return list
}

// New makes a project and returns the names of its files, all or nothing.
func New(p Project) ([]string, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	made, err := p.render()
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeInternal, What: "the templates of the project are broken", Why: err.Error(), Fix: "report it", Err: err}
	}
	if err := write(p.Dir, made); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeFailed, What: "the project cannot be written", Where: kernel.Where{File: p.Dir}, Why: err.Error(), Fix: "name a folder that is not there yet, or is empty", Err: err}
	}
	names := make([]string, 0, len(made))
	for name := range made {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (p *Project) check() error {
	kinds := Kinds()
	if !slices.Contains(kinds, p.Kind) {
		return &kernel.Error{Code: kernel.CodeInput, What: "there is no project of the kind " + kernel.Quote(p.Kind), Why: kernel.DidYouMean(p.Kind, kinds), Fix: "name one of " + strings.Join(kinds, ", ")}
	}
	langs := Languages(p.Kind)
	if named, ok := aliases[p.Lang]; ok {
		p.Lang = named
	}
	if p.Lang == "" {
		p.Lang = langs[0]
		if slices.Contains(langs, "go") {
			p.Lang = "go"
		}
	}
	if !slices.Contains(langs, p.Lang) {
		return &kernel.Error{Code: kernel.CodeInput, What: "there is no " + p.Kind + " in the language " + kernel.Quote(p.Lang), Why: kernel.DidYouMean(p.Lang, langs),
			Fix: "name one of " + strings.Join(langs, ", ") + "; modules in any other language follow abi/README.md"}
	}
	if _, err := abi.ParseManifest([]byte(`{"name": ` + quoted(p.Name) + `, "version": "0.1.0"}`)); err != nil {
		return &kernel.Error{Code: kernel.CodeInput, What: "the name " + kernel.Quote(p.Name) + " cannot be a module's", Why: kernel.Quote(err.Error()), Fix: "use lower-case letters and digits, with single - . _ between them"}
	}
	return nil
}

func quoted(s string) string {
	text, _ := kernel.EncodeJSON(strings.ToValidUTF8(s, "\uFFFD")) // a string
	return string(text)
}

// render returns the project's files by their names.
func (p *Project) render() (map[string][]byte, error) {
	made := map[string][]byte{}
	layers := []string{path.Join(languagesDir, p.Lang, shared), path.Join(languagesDir, p.Lang, p.Kind)}
	if _, isModule := points[p.Kind]; isModule {
		layers = append([]string{path.Join(kindsDir, p.Kind)}, layers...)
		if err := p.file(made, kindsDir, "README.md"+suffix); err != nil {
			return nil, err
		}
	}
	for _, dir := range layers {
		err := fs.WalkDir(files, dir, func(name string, e fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && name == dir:
				return fs.SkipAll // nothing in common
			case err != nil || e.IsDir():
				return err
			}
			return p.file(made, dir, strings.TrimPrefix(name, dir+"/"))
		})
		if err != nil {
			return nil, err
		}
	}
	return made, p.addSDK(made)
}

func (p *Project) file(made map[string][]byte, dir, name string) error {
	text, err := files.ReadFile(path.Join(dir, name))
	if err != nil {
		return err
	}
	limit := fuel[p.Lang]
	if limit == 0 {
		limit = defaultFuel
	}
	as, isTemplate := strings.CutSuffix(strings.ReplaceAll(name, "NAME", p.Name), suffix)
	if isTemplate {
		t, err := template.New(name).Option("missingkey=error").Parse(string(text))
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, map[string]any{"Name": p.Name, "Kind": p.Kind, "Lang": p.Lang, "Point": string(points[p.Kind]), "Fuel": limit}); err != nil {
			return err
		}
		text = b.Bytes()
	}
	made[as] = text
	return nil
}

// addSDK adds the SDK that the project carries, if its language has one here.
func (p *Project) addSDK(made map[string][]byte) error {
	i := slices.IndexFunc(sdks, func(s sdk) bool { return s.lang == p.Lang })
	if i < 0 {
		return nil
	}
	text, err := files.ReadFile(sdks[i].archive())
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		made[path.Join(sdks[i].to, f.Name)] = content
	}
	return nil
}

func (s *sdk) archive() string { return "sdk/" + s.lang + ".zip" }

// write makes the folder with the files. What was begun and not ended is removed.
func write(dir string, made map[string][]byte) (err error) {
	entries, err := os.ReadDir(dir)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("it is not empty")
	case errors.Is(err, fs.ErrNotExist):
		defer func() {
			if err != nil {
				os.RemoveAll(dir) // it was not there before
			}
		}()
	case err != nil:
		return err
	}
	for name, text := range made {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
