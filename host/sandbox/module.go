package sandbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// ReadModule reads a module of at most limit bytes; 0 means the default. Of what
// is longer it reads no more than that.
func ReadModule(r io.Reader, limit int) ([]byte, error) {
	if limit == 0 {
		limit = rewrite.DefaultOptions().MaxModuleBytes
	}
	wasm, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(wasm) > limit {
		return nil, TooLarge(limit)
	}
	return wasm, err
}

// TooLarge is the refusal of a module of more than limit bytes.
func TooLarge(limit int) error {
	return &kernel.Error{Code: kernel.CodeLimit, What: "the module is too large",
		Why: fmt.Sprintf("it has more than %d bytes, which is static_limits.module_bytes", limit), Fix: "strip it, or leave data out of it; or raise the limit"}
}

// Module is a compiled module. It is safe for concurrent use: calls run in
// instances of their own.
type Module struct {
	name        string
	digest      string
	size        int
	manifest    *abi.Manifest
	limits      Limits
	static      rewrite.Options
	dialect     Dialect
	functions   map[abi.Point]string
	runtime     *Runtime
	description rewrite.Description
	key         string // of the compiled code
	compiled    *compiled
	points      []abi.Point
	resettable  bool // memory and globals are all of an instance's state
	pool        *pool
}

// LoadOptions says how to load a module.
type LoadOptions struct {
	Name   string          // how errors and records call it; "" means the manifest's name
	Limits Limits          // of each call; zero fields mean DefaultLimits
	Static rewrite.Options // what the bytes are held to; zero fields mean rewrite.DefaultOptions

	Dialect Dialect // "" means to find it from the module's imports and exports
	// Functions names the exports that serve extension points, where they are
	// not of the same name. A command serves node_run and tool_call, if this
	// says nothing else.
	Functions map[abi.Point]string
}

// Load checks, rewrites and compiles a module. Its errors are of the codes
// module.*, and limit.
func (r *Runtime) Load(ctx context.Context, wasm []byte, opts LoadOptions) (*Module, error) {
	digest := sha256.Sum256(wasm)
	m := &Module{
		name:    opts.Name,
		digest:  "sha256:" + hex.EncodeToString(digest[:]),
		size:    len(wasm),
		limits:  opts.Limits.Or(DefaultLimits()),
		static:  opts.Static.Or(rewrite.DefaultOptions()),
		dialect: opts.Dialect,
		runtime: r,

		functions: opts.Functions,
	}
	if err := m.prepare(ctx, wasm); err != nil {
		return nil, kernel.At(err, kernel.Where{Module: m.ID()})
	}
	m.pool = newPool(m.limits)
	return m, nil
}

func (m *Module) prepare(ctx context.Context, wasm []byte) error {
	if err := checkHeader(wasm); err != nil {
		return err
	}
	m.static.MaxMemoryPages = int(m.limits.pages())
	rewritten, err := rewrite.Module(wasm, m.static)
	if err != nil {
		return err
	}
	m.description = rewritten.Description
	if m.manifest, err = abi.ReadManifest(wasm); err != nil {
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "the module's manifest cannot be used", Why: err.Error(),
			Fix: "mend manifest.json and build the module again", Err: err}
	}
	if m.name == "" && m.manifest != nil {
		m.name = m.manifest.Name
	}
	if err := m.detect(); err != nil {
		return err
	}
	if err := m.checkImports(); err != nil {
		return err
	}
	if err := m.checkExports(); err != nil {
		return err
	}
	m.resettable = m.dialect != Command && m.isResettable() // a command runs once
	m.key, m.compiled, err = m.runtime.compile(ctx, rewritten.Wasm, m.digest)
	return err
}

// isResettable reports whether memory and mutable globals are all that a call
// can change of an instance, and can all be put back.
func (m *Module) isResettable() bool {
	if m.description.HasTableWrites || m.description.HasSegmentDrops {
		return false
	}
	return !slices.ContainsFunc(m.description.MutableGlobals, func(g rewrite.MutableGlobal) bool {
		return g.Type == rewrite.V128 || g.Type == rewrite.FuncRef || g.Type == rewrite.ExternRef
	})
}

func checkHeader(wasm []byte) error {
	switch {
	case len(wasm) < 8 || !bytes.HasPrefix(wasm, []byte("\x00asm")):
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "this is not a WebAssembly module",
			Why: "it does not start with \\0asm and a version", Fix: "build a core WebAssembly module, for example with 'hexdag build DIR'"}
	case bytes.Equal(wasm[4:8], []byte{0x0d, 0, 1, 0}):
		return &kernel.Error{Code: kernel.CodeModuleComponent, What: "this is a component, not a core module",
			Why: "this host runs core WebAssembly modules of the ABI hexdag_v1; no Go engine runs components",
			Fix: "build a core module: Go with GOOS=wasip1 -buildmode=c-shared, Rust with wasm32-unknown-unknown or wasm32-wasip1, C with --target=wasm32; or extract the core module from the component"}
	case !bytes.Equal(wasm[4:8], []byte{1, 0, 0, 0}):
		return &kernel.Error{Code: kernel.CodeModuleInvalid, What: "unknown version of the WebAssembly binary format",
			Why: fmt.Sprintf("version bytes %x, known is 01000000", wasm[4:8]), Fix: "build it for WebAssembly 1 or 2"}
	}
	return nil
}

// checkImports refuses what the host does not offer, and signatures that differ.
func (m *Module) checkImports() error {
	for _, i := range m.description.Imports {
		full := kernel.Quote(i.Module + "." + i.Name)
		if i.Kind != rewrite.ExternFunc {
			return importError(fmt.Sprintf("%s, a %s", full, i.Kind), fmt.Sprintf("no %s", i.Kind), "define it, and export the memory as \"memory\"")
		}
		offered, ok := m.offered(i.Module)
		if !ok {
			return importError(full, "no module "+kernel.Quote(i.Module)+" in the dialect "+string(m.dialect), m.whatToImport())
		}
		n := slices.IndexFunc(offered, func(h hostFunction) bool { return h.name == i.Name })
		if n < 0 {
			names := make([]string, len(offered))
			for i, h := range offered {
				names[i] = h.name
			}
			return importError(full, "no function "+full+": "+kernel.DidYouMean(i.Name, names), "see abi/README.md for what version 1 offers")
		}
		if has := offered[n].signature(); !slices.Equal(i.Func.Params, has.Params) || !slices.Equal(i.Func.Results, has.Results) {
			return &kernel.Error{Code: kernel.CodeModuleImport, What: "import " + full + " has another signature than the host's",
				Why: fmt.Sprintf("it declares %s, version 1 has %s", i.Func, has), Fix: "use the SDK of this version"}
		}
	}
	return nil
}

func importError(full, offers, fix string) error {
	return &kernel.Error{Code: kernel.CodeModuleImport, What: "the module imports " + full, Why: "the host offers " + offers, Fix: fix}
}

// checkExports refuses a module without memory, or with an extension point of
// another signature, and notes the extension points.
func (m *Module) checkExports() error {
	exports := map[string]rewrite.Export{}
	for _, e := range m.description.Exports {
		exports[e.Name] = e
	}
	if e, ok := exports[abi.ExportMemory]; !ok || e.Kind != rewrite.ExternMemory {
		return &kernel.Error{Code: kernel.CodeModuleExport, What: "the module exports no memory", Why: "the host reads and writes through the export \"memory\"", Fix: "export it"}
	}
	if err := m.checkPoints(exports); err != nil {
		return err
	}
	if e, ok := exports[abi.ExportInit]; ok && e.Kind == rewrite.ExternFunc && len(e.Func.Params)+len(e.Func.Results) > 0 {
		return &kernel.Error{Code: kernel.CodeModuleExport, What: "export _initialize has another signature than () -> ()",
			Why: "it is " + e.Func.String(), Fix: "export it without parameters and results"}
	}
	return nil
}

// firstLine returns what of an engine's message can be shown.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return kernel.Quote(line)
}

// Name returns the module's name: the operator's, or else the manifest's.
func (m *Module) Name() string { return m.name }

// Digest returns "sha256:" and the hexadecimal digest of the module's bytes.
func (m *Module) Digest() string { return m.digest }

// ID returns name@digest, the digest cut to twelve digits, as errors show it.
func (m *Module) ID() string {
	return kernel.Quote(m.name) + "@" + strings.TrimPrefix(m.digest, "sha256:")[:12]
}

// Size returns how many bytes the module has.
func (m *Module) Size() int { return m.size }

// Manifest returns what the module says of itself; nil if it carries no manifest.
func (m *Module) Manifest() *abi.Manifest { return m.manifest }

// Limits returns the limits of each call.
func (m *Module) Limits() Limits { return m.limits }

// Static returns the limits that the module's bytes were held to.
func (m *Module) Static() rewrite.Options { return m.static }

// Has reports whether the module exports this extension point.
func (m *Module) Has(p abi.Point) bool { return slices.Contains(m.points, p) }

// Points returns the extension points that the module exports, in the
// specification's order.
func (m *Module) Points() []abi.Point { return m.points }

// Imports returns "module.function" of every import, sorted.
func (m *Module) Imports() []string {
	var list []string
	for _, i := range m.description.Imports {
		list = append(list, i.Module+"."+i.Name)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Exports returns the names of the exported functions, sorted.
func (m *Module) Exports() []string {
	var list []string
	for _, e := range m.description.Exports {
		if e.Kind == rewrite.ExternFunc {
			list = append(list, e.Name)
		}
	}
	slices.Sort(list)
	return list
}

// Shape returns how many functions the module defines, and the bytes of memory
// that it starts with and can grow to.
func (m *Module) Shape() (functions int, memory, most uint64) {
	for _, l := range m.description.Memories {
		memory, most = uint64(l.Min)*pageSize, uint64(l.Max)*pageSize
	}
	return m.description.Functions, memory, most
}

// Producers returns what made the module, as it says itself.
func (m *Module) Producers() []rewrite.Producer { return m.description.Producers }

// Close refuses new calls, waits for those under way and frees what the module holds.
func (m *Module) Close(ctx context.Context) error {
	m.pool.drain(ctx)
	return m.runtime.release(ctx, m.key)
}
