// Package extension gives sandboxed modules their types: a node hook, a port
// hook, a tool, a node's body. It is where a module's requests meet its
// operator's grants, and where a guest's calls enter the door.
package extension

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
	"github.com/hexdag/hexdag/host/schema"
	"github.com/hexdag/hexdag/host/tracing"
)

// Spec is what an operator says of a module.
type Spec struct {
	Name   string
	Path   string
	Digest string // "sha256:..." pins the bytes; "" takes what is there
	Config kernel.Value
	Grants []abi.Capability
	Labels Labels
	Limits sandbox.Limits
	Static rewrite.Options // zero fields mean the defaults
	// Isolation is what of the module's state one call can leave to the next; ""
	// means nothing.
	Isolation sandbox.Isolation
	// Dialect is how to talk to it; "" means what the module looks like.
	Dialect sandbox.Dialect
	// Tracer makes spans of its calls.
	Tracer *tracing.Tracer
	// Trace, if set, is given what went into and out of every call when it has ended,
	// in the call's context and goroutine.
	Trace func(context.Context, *Trace)
}

// version is one state of a module's bytes with its rights. What has begun with
// it ends with it.
type version struct {
	*sandbox.Module
	owner  *Module
	rights kernel.ModuleRights
	tools  map[string]tool
	ops    map[string]operation
	users  int  // runs and calls that hold it, and the module while it is current
	closed bool // both are guarded by the owner's mutex
}

type tool struct {
	abi.Tool
	input, output *schema.Schema
	parameters    []string // names of the schema's properties; nil without a schema
}

// ReadFile reads a module's file of at most limit bytes; 0 means the default.
func ReadFile(file string, limit int) ([]byte, error) {
	unreadable := func(err error) error {
		return &kernel.Error{Code: kernel.CodeModuleNotFound, What: "the module cannot be read", Where: kernel.Where{File: file},
			Why: err.Error(), Fix: "build it ('hexdag build DIR'), or correct its path", Err: err}
	}
	info, err := os.Stat(file) // before it is opened: opening a pipe waits for a writer
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return nil, unreadable(errors.New("it is not a file"))
	}
	if limit == 0 {
		limit = rewrite.DefaultOptions().MaxModuleBytes
	}
	if info.Size() > int64(limit) {
		return nil, kernel.At(sandbox.TooLarge(limit), kernel.Where{File: file})
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	wasm, err := sandbox.ReadModule(f, limit)
	switch {
	case err == nil:
		return wasm, nil
	case kernel.CodeOf(err) == kernel.CodeLimit:
		return nil, kernel.At(err, kernel.Where{File: file})
	}
	return nil, unreadable(err)
}

// link checks what the module is and may do before anything runs.
func (m *version) link() error {
	if m.owner.spec.Digest != "" && m.owner.spec.Digest != m.Digest() {
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module is not the one that was pinned",
			Why: "its digest is " + m.Digest() + ", the configuration pins " + kernel.Quote(m.owner.spec.Digest), Fix: "restore the module, or review it and pin the new digest"}
	}
	if err := m.checkRights(); err != nil {
		return err
	}
	if err := m.checkLabels(); err != nil {
		return err
	}
	m.rights = kernel.ModuleRights{Name: m.Name(), Digest: m.Digest(), Check: m.check}
	if err := m.compileTools(); err != nil {
		return err
	}
	return m.compileOperations()
}

func (m *version) requests() []abi.Capability {
	if m.Manifest() == nil {
		return nil
	}
	return m.Manifest().Capabilities
}

// checkRights is the static part of the chain: imports ⊆ request ⊆ grant.
func (m *version) checkRights() error {
	for _, g := range m.owner.spec.Grants {
		if isImportOp(g.Op) {
			continue
		}
		if err := m.owner.door.CheckCapability(g.Op, argNames(g)); err != nil {
			return &kernel.Error{Code: kernel.CodeConfig, What: "module " + kernel.Quote(m.Name()) + " has a grant that can never apply", Why: err.Error(), Fix: "correct the grant"}
		}
	}
	requests := m.requests()
	if err := m.checkImports(requests); err != nil {
		return err
	}
	var missing []string
	for _, r := range requests {
		if !slices.ContainsFunc(m.owner.spec.Grants, func(g abi.Capability) bool { return g.Op == r.Op }) {
			missing = append(missing, r.String())
		}
	}
	if len(missing) > 0 {
		return &kernel.Error{Code: kernel.CodeModuleGrant, What: "module " + kernel.Quote(m.Name()) + " asks for what it was not granted",
			Why: "its manifest requests " + kernel.Quote(strings.Join(missing, "; ")),
			Fix: "if you agree, add under grants of the module: - " + kernel.Quote(strings.Join(missing, "  and  - "))}
	}
	return nil
}

// checkImports refuses a module whose imports reach further than its requests.
func (m *version) checkImports(requests []abi.Capability) error {
	for _, need := range []struct {
		function, op string
		covered      func(op string) bool
	}{
		{abi.ImportCall, "the operations it calls", func(op string) bool { return !isImportOp(op) }},
		{abi.ImportClock, abi.OpClock, func(op string) bool { return op == abi.OpClock }},
		{abi.ImportRandom, abi.OpRandom, func(op string) bool { return op == abi.OpRandom }},
	} {
		imports := slices.Contains(m.Imports(), abi.ImportModule+"."+need.function)
		if imports && !slices.ContainsFunc(requests, func(r abi.Capability) bool { return need.covered(r.Op) }) {
			return &kernel.Error{Code: kernel.CodeModuleGrant, What: "the module imports " + abi.ImportModule + "." + need.function + " and its manifest requests nothing for it",
				Why: "what a module imports must be covered by what it requests", Fix: "name " + need.op + " under capabilities in manifest.json, build again, and grant it"}
		}
	}
	return nil
}

func isImportOp(op string) bool { return op == abi.OpClock || op == abi.OpRandom }

func argNames(c abi.Capability) []string {
	names := make([]string, 0, len(c.Args))
	for name := range c.Args {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// check is the part of the chain that depends on a call's arguments.
func (m *version) check(op string, args map[string]string) error {
	allows := func(list []abi.Capability) bool {
		return slices.ContainsFunc(list, func(c abi.Capability) bool { return c.Allows(op, args) })
	}
	line := abi.Capability{Op: op}
	for name, value := range args {
		if line.Args == nil {
			line.Args = map[string][]string{}
		}
		line.Args[name] = []string{value}
	}
	switch {
	case !allows(m.requests()):
		return &kernel.Error{Code: kernel.CodeDenied, What: "module " + kernel.Quote(m.Name()) + " may not call " + kernel.Quote(line.String()), Where: kernel.Where{Module: m.ID()},
			Why: "its manifest does not request it", Fix: "add " + kernel.Quote(line.String()) + " under capabilities in its manifest.json, build again, and grant it"}
	case !allows(m.owner.spec.Grants):
		return &kernel.Error{Code: kernel.CodeDenied, What: "module " + kernel.Quote(m.Name()) + " may not call " + kernel.Quote(line.String()), Where: kernel.Where{Module: m.ID()},
			Why: "it was not granted it", Fix: "if you agree, add under grants of the module: - " + kernel.Quote(line.String())}
	}
	return nil
}

func (m *version) compileTools() error {
	m.tools = map[string]tool{}
	if m.Manifest() == nil {
		return nil
	}
	for _, t := range m.Manifest().Tools {
		compiled := tool{Tool: t}
		var err error
		if compiled.input, compiled.output, err = compileSchemas("tool "+kernel.Quote(t.Name), t.InputSchema, t.OutputSchema); err != nil {
			return err
		}
		compiled.parameters = parameters(t.InputSchema)
		m.tools[t.Name] = compiled
	}
	return nil
}

// compileSchemas compiles what a tool or an operation takes and gives.
func compileSchemas(of string, in, out []byte) (input, output *schema.Schema, err error) {
	if input, err = compileSchema(in); err == nil {
		output, err = compileSchema(out)
	}
	if err != nil {
		return nil, nil, &kernel.Error{Code: kernel.CodeModuleInvalid, What: of + " has a schema that cannot be used", Why: kernel.Quote(err.Error()),
			Fix: "correct it in manifest.json; it is JSON Schema 2020-12", Err: err}
	}
	return input, output, nil
}

// parameters returns the names of a schema's properties.
func parameters(schema []byte) []string {
	v, err := kernel.DecodeJSON(schema)
	if err != nil {
		return nil
	}
	object, _ := v.(map[string]any)
	properties, ok := object["properties"].(map[string]any)
	if !ok {
		return nil
	}
	return slices.Sorted(maps.Keys(properties))
}

func compileSchema(text []byte) (*schema.Schema, error) {
	if len(text) == 0 {
		return nil, nil
	}
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a schema is an object")
	}
	return schema.Compile(doc)
}
