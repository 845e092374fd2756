package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// Dialect is how a module and the host speak with each other.
type Dialect string

// The dialects. All of them have the same limits, and the rights of the same Host.
const (
	Native  Dialect = "native"       // abi/README.md
	Extism  Dialect = "extism"       // plugins made with a PDK of Extism
	Command Dialect = "wasi-command" // plain programs: JSON on stdin, JSON on stdout
)

// Dialect returns the dialect that the module is called in.
func (m *Module) Dialect() Dialect { return m.dialect }

// detect finds the dialect that the operator has not named, from what the module
// imports and exports.
func (m *Module) detect() error {
	switch m.dialect {
	case Native, Extism, Command:
		return nil
	case "":
	default:
		return &kernel.Error{Code: kernel.CodeConfig, What: "there is no dialect " + kernel.Quote(string(m.dialect)),
			Why: fmt.Sprintf("the dialects are %s, %s and %s", Native, Extism, Command), Fix: "name one of these, or none: it is found from the module's imports and exports"}
	}
	imports := func(module string) bool {
		return slices.ContainsFunc(m.description.Imports, func(i rewrite.Import) bool { return i.Module == module })
	}
	exports := func(name string) bool {
		return slices.ContainsFunc(m.description.Exports, func(e rewrite.Export) bool { return e.Name == name && e.Kind == rewrite.ExternFunc })
	}
	switch {
	case imports(extismModule):
		m.dialect = Extism
	case exports(abi.ExportCommand) && !imports(abi.ImportModule) && !slices.ContainsFunc(abi.Points(), func(p abi.Point) bool { return exports(string(p)) }):
		m.dialect = Command
	default:
		m.dialect = Native
	}
	return nil
}

// offered returns the functions of an import module that the dialect has.
func (m *Module) offered(module string) ([]hostFunction, bool) {
	switch {
	case module == wasiModule:
		return wasiFunctions(), true
	case module == abi.ImportModule && m.dialect == Native:
		return nativeFunctions(), true
	case module == extismModule && m.dialect == Extism:
		return extismFunctions(), true
	case module == extismUserModule && m.dialect == Extism:
		return extismUserFunctions(), true
	}
	return nil, false
}

// whatToImport says what a module can do that imports from anywhere else.
func (m *Module) whatToImport() string {
	if m.dialect == Native {
		return "import from hexdag_v1 (or wasi_snapshot_preview1, which is a stub) and reach everything else through hexdag_v1.call, with a grant"
	}
	return "build it for one dialect; if this is not the one, name it"
}

// function returns the name of the export that serves an extension point; "" if
// none does.
func (m *Module) function(p abi.Point) string {
	switch name := m.functions[p]; {
	case name != "":
		return name
	case m.dialect != Command:
		return string(p)
	case len(m.functions) == 0 && (p == abi.NodeRun || p == abi.ToolCall):
		return abi.ExportCommand
	}
	return ""
}

// signatures are those that a dialect's functions may have.
var signatures = map[Dialect][]string{
	Native:  {"(i32) -> (i64)"},
	Extism:  {"() -> (i32)", "() -> ()"},
	Command: {"() -> ()"},
}

// checkPoints notes the extension points that the module serves, and refuses
// those of another signature than the dialect's.
func (m *Module) checkPoints(exports map[string]rewrite.Export) error {
	if e := exports["hs_init"]; e.Kind == rewrite.ExternFunc && e.Name != "" && m.dialect == Extism {
		return &kernel.Error{Code: kernel.CodeModuleExport, What: "the plugin needs the runtime of Haskell to be started",
			Why: "it exports hs_init, which this host does not call", Fix: "call hs_init from _initialize"}
	}
	for _, p := range abi.Points() {
		name := m.function(p)
		e, ok := exports[name]
		if !ok || e.Kind != rewrite.ExternFunc {
			if m.functions[p] != "" {
				return &kernel.Error{Code: kernel.CodeModuleExport, What: fmt.Sprintf("the module exports no function %s, which is to serve %s", kernel.Quote(name), p),
					Why: "it exports " + kernel.Quote(strings.Join(m.Exports(), ", ")), Fix: "name one of these"}
			}
			continue
		}
		if want := signatures[m.dialect]; !slices.Contains(want, e.Func.String()) {
			return &kernel.Error{Code: kernel.CodeModuleExport, What: "export " + kernel.Quote(name) + " has another signature than its extension point",
				Why: fmt.Sprintf("it is %s, the extension point is %s", e.Func, want[0]), Fix: "use the SDK of this version"}
		}
		m.points = append(m.points, p)
	}
	if m.dialect == Command && len(m.points) == 0 {
		return &kernel.Error{Code: kernel.CodeModuleExport, What: "the module is no command", Why: "it exports no function _start", Fix: "build it as a program, not as a library; or name another dialect"}
	}
	return nil
}

func (a *activation) tooLarge(what string, size int) *kernel.Error {
	return a.errorf(kernel.CodeLimit, what+" is too large", fmt.Sprintf("%d bytes, the limit is %d", size, a.limits.Document), "raise limits.document of the module, or pass less")
}

// interpret makes an outcome of what a guest of another dialect has put out: at a
// hook the document of its verdict, elsewhere the result itself.
func (a *activation) interpret(text []byte, out *Outcome) error {
	hook := a.call.Point.Patchable() != ""
	if len(text) == 0 && !hook {
		return nil
	}
	v, err := kernel.DecodeJSON(text)
	if err != nil {
		return a.errorf(kernel.CodeABI, fmt.Sprintf("the guest put out no JSON from %s", a.call.Point), kernel.Quote(err.Error()), "put out one JSON text; what is for people goes to the log")
	}
	if !hook {
		out.Output, out.HasOut = v, true
		return nil
	}
	if err := readVerdict(a.call.Point, v, out); err != nil {
		*out = Outcome{}
		return a.errorf(kernel.CodeABI, fmt.Sprintf("the guest's verdict from %s cannot be read", a.call.Point), kernel.Quote(err.Error()), `put out {"verdict": "continue"}, or see abi/README.md, Dialects`)
	}
	return nil
}

// readVerdict reads a verdict document. It refuses what it does not know: a
// misspelt member is no consent.
func readVerdict(p abi.Point, v kernel.Value, out *Outcome) error {
	doc, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("it is not an object")
	}
	known := []string{"verdict", "patch", "output", "reason", "code", "retry_ms"}
	for name := range doc {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown member %q; known are %s", name, strings.Join(known, ", "))
		}
	}
	named, _ := doc["verdict"].(string)
	verdict := abi.Continue
	for verdict.String() != named {
		if verdict++; verdict > abi.Error {
			return fmt.Errorf("verdict is %q; known are continue, replace, skip, deny, retry_after and error", named)
		}
	}
	if !legal(p, verdict) {
		return fmt.Errorf("%s may not return %s", p, verdict)
	}
	out.Verdict = verdict
	switch verdict {
	case abi.Replace:
		if out.Patched, ok = doc["patch"]; !ok {
			return fmt.Errorf("replace needs the member patch: what takes the place of %s", p.Patchable())
		}
	case abi.Skip:
		out.Output, out.HasOut = doc["output"]
	case abi.Deny, abi.Error, abi.RetryAfter:
		out.explain(doc["reason"], doc["code"])
	}
	if verdict == abi.RetryAfter {
		number, _ := doc["retry_ms"].(json.Number)
		ms, err := strconv.ParseUint(string(number), 10, 32)
		if err != nil {
			return fmt.Errorf("retry_after needs the member retry_ms: whole milliseconds below 2^32")
		}
		out.Arg = uint32(ms)
	}
	return nil
}

// explain puts a reason beside a verdict, as a native guest would.
func (out *Outcome) explain(reason, code any) {
	problem := map[string]any{}
	for name, v := range map[string]any{"reason": reason, "code": code} {
		if text, ok := v.(string); ok {
			problem[name] = text
		}
	}
	out.Output, out.HasOut = problem, true
}

// failed makes the outcome of a guest that says that it has failed.
func (a *activation) failed(out *Outcome, reason string) {
	out.Verdict = abi.Error
	out.explain(strings.ToValidUTF8(reason[:min(len(reason), a.limits.LogLine)], "\uFFFD"), nil)
}
