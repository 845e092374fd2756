// Package regoc compiles Rego to the WebAssembly that package policy evaluates.
// It is the part that needs OPA, and it is not needed to evaluate.
package regoc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/compile"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/topdown"
	"github.com/hexdag/hexdag/host/kernel"
)

// Source is where policies are: folders with .rego files (Rego v1) and data.json
// or data.yaml files, whose place within the folder is their place in data. A file
// may stand for a folder.
type Source struct {
	Dirs []string
}

// Options change how policies are compiled.
type Options struct {
	// Entrypoints, as "hexdag/authz/decision", add to the rules that have
	// entrypoint: true in their metadata.
	Entrypoints []string
	// Revision names the build; the digest of the sources by default.
	Revision string
	// Portable leaves the matching of patterns (regex.match, glob.match, ...) to the module, so that other
	// runtimes of OPA's modules can run it. Each decision then compiles each pattern anew.
	Portable bool
}

// Artifact is a compiled policy.
type Artifact struct {
	Wasm        []byte
	Data        []byte // JSON
	Entrypoints []string
	Revision    string

	bundle *bundle.Bundle
}

// Build compiles what source has, tests excepted. If it cannot, the error joins
// one kernel.Error with its place for everything that is wrong.
func Build(ctx context.Context, source Source, opts Options) (*Artifact, error) {
	files, err := load(source.Dirs)
	if err != nil {
		return nil, err
	}
	modules, err := files.parse(func(name string) bool { return !isTest(name) })
	if err != nil {
		return nil, err
	}
	if len(modules) == files.stock {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "no policy found", Where: kernel.Where{File: strings.Join(source.Dirs, ", ")}, Why: "there are no .rego files but tests"}
	}
	c, err := check(modules, files.data, false)
	if err != nil {
		return nil, err
	}
	opts.Entrypoints = append(slices.Clone(opts.Entrypoints), materialized(c, opts.Entrypoints)...)
	if opts.Revision == "" {
		opts.Revision = files.digest()
	}
	return compileWasm(ctx, files, opts)
}

// check compiles for errors only: unlike the build, it goes on after the tenth,
// and sees where rules and data would be in each other's place.
func check(modules map[string]*ast.Module, data map[string]any, strict bool) (*ast.Compiler, error) {
	c := ast.NewCompiler().
		WithStrict(strict).
		WithCapabilities(Capabilities()).
		SetErrorLimit(0).
		WithPathConflictsCheck(func(path []string) (bool, error) { return holds(data, path), nil })
	copies := make(map[string]*ast.Module, len(modules))
	for name, m := range modules {
		copies[name] = m.Copy() // compiling rewrites
	}
	c.Compile(copies)
	return c, placed(c.Errors)
}

// holds says whether data has a value at path, other than an empty object.
func holds(data map[string]any, path []string) bool {
	var at any = data
	for _, name := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return true // a value where an object would have to be
		}
		if at, ok = object[name]; !ok {
			return false
		}
	}
	object, ok := at.(map[string]any)
	return !ok || len(object) > 0
}

func compileWasm(ctx context.Context, files *files, opts Options) (*Artifact, error) {
	b, err := files.bundle()
	if err != nil {
		return nil, err
	}
	capabilities := Capabilities()
	if !opts.Portable {
		capabilities = patternCapabilities()
		for i := range b.Modules {
			replacePatterns(b.Modules[i].Parsed)
		}
	}
	c := compile.New().
		WithBundle(b).
		WithTarget(compile.TargetWasm).
		WithCapabilities(capabilities).
		WithRegoVersion(ast.RegoV1).
		WithRegoAnnotationEntrypoints(true).
		WithEntrypoints(opts.Entrypoints...).
		WithRevision(opts.Revision)
	if err := c.Build(ctx); err != nil {
		return nil, buildError(err)
	}
	out := c.Bundle()
	data, err := kernel.EncodeJSON(out.Data)
	if err != nil {
		return nil, err
	}
	a := &Artifact{Wasm: out.WasmModules[0].Raw, Data: data, Revision: opts.Revision, bundle: out}
	for _, r := range out.Manifest.WasmResolvers {
		a.Entrypoints = append(a.Entrypoints, r.Entrypoint)
	}
	slices.Sort(a.Entrypoints)
	return a, nil
}

// bundle returns the sources, tests excepted, as OPA's compiler takes them. They are
// parsed anew under their names in the bundle, as the module has these names in
// it: where the sources lie must not change what is built from them.
func (f *files) bundle() (*bundle.Bundle, error) {
	b := &bundle.Bundle{Data: f.data}
	b.SetRegoVersion(ast.RegoV1)
	b.Manifest.Init()
	for _, one := range f.rego {
		if isTest(one.name) {
			continue
		}
		m, err := parse(one.inBundle, one.text)
		if err != nil {
			return nil, buildError(err)
		}
		b.Modules = append(b.Modules, bundle.ModuleFile{URL: one.inBundle, Path: one.inBundle, Raw: one.text, Parsed: m})
	}
	return b, nil
}

// Capabilities returns what policies may use: OPA's language, and of its builtins
// those that it compiles into the module or that packages policy and topdown offer.
func Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV1))
	allowed := append(native(), policy.Builtins()...)
	allowed = append(allowed, topdown.Names()...)
	allowed = append(allowed, "print", "rego.metadata.chain", "rego.metadata.rule") // the compiler erases them
	c.Builtins = slices.DeleteFunc(c.Builtins, func(b *ast.Builtin) bool { return !slices.Contains(allowed, b.Name) })
	c.WasmABIVersions = nil // the driver checks the version of what is built
	c.AllowNet = []string{} // no schemas from the network
	return c
}

func (f *files) digest() string {
	h := sha256.New()
	for _, file := range f.all {
		sum := sha256.Sum256(file.text)
		fmt.Fprintf(h, "%x %s\n", sum, file.inBundle)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// placed turns OPA's errors into one that joins a kernel.Error for each.
func placed(errs ast.Errors) error {
	var joined []error
	for i, e := range errs {
		// The parser may say a thing twice, and more of it the second time.
		if i+1 < len(errs) && e.Location.Equal(errs[i+1].Location) && strings.HasPrefix(errs[i+1].Message, e.Message) {
			continue
		}
		joined = append(joined, placedError(e))
	}
	return errors.Join(joined...)
}

func placedError(e *ast.Error) error {
	k := &kernel.Error{Code: kernel.CodePolicy, What: strings.TrimPrefix(e.Code, "rego_") + ": " + kernel.Quote(e.Message), Err: e}
	if e.Location != nil {
		k.Where = kernel.Where{File: e.Location.File, Line: e.Location.Row, Column: e.Location.Col}
	}
	if _, isText := e.Details.(*ast.ParserErrorDetail); e.Details != nil && !isText { // the file's line
		k.Why = kernel.Quote(strings.Join(e.Details.Lines(), "; "))
	}
	if called, ok := strings.CutPrefix(e.Message, "undefined function "); ok {
		if _, exists := ast.BuiltinMap[called]; exists {
			k.What = "the policy calls " + called
			k.Why = topdown.WhyRefused(called)
			k.Fix = "pass what it needs as input or data"
		}
	}
	return k
}

func buildError(err error) error {
	if errs, ok := errors.AsType[ast.Errors](err); ok {
		return placed(errs)
	}
	k := &kernel.Error{Code: kernel.CodePolicy, What: "the policy does not compile", Why: kernel.Quote(err.Error()), Err: err}
	if strings.Contains(err.Error(), "at least one entrypoint") {
		k.Fix = "put a METADATA comment with entrypoint: true above the rule that answers, or name it with --entrypoint"
	}
	return k
}
