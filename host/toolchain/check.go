package toolchain

import (
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// modules are those that a guest may import from, in any dialect.
var modules = []string{abi.ImportModule, "wasi_snapshot_preview1", "extism:host/env", "extism:host/user"}

// check refuses a module that no host would load, while its author is still there.
func check(dir string, wasm []byte) error {
	rewritten, err := rewrite.Module(wasm, rewrite.DefaultOptions())
	if err != nil {
		return kernel.At(err, kernel.Where{File: dir})
	}
	for _, i := range rewritten.Imports {
		if !slices.Contains(modules, i.Module) {
			return invalid(dir, "the module imports "+kernel.Quote(i.Module+"."+i.Name), "hosts offer "+strings.Join(modules[:2], " and "),
				"declare what the host offers, and leave out the runtime that asks for more (abi/README.md, Imports)")
		}
	}
	serves := slices.ContainsFunc(rewritten.Exports, func(e rewrite.Export) bool {
		return e.Name == abi.ExportCommand || slices.Contains(abi.Points(), abi.Point(e.Name))
	})
	if !serves && !slices.ContainsFunc(rewritten.Imports, func(i rewrite.Import) bool { return strings.HasPrefix(i.Module, "extism:") }) {
		return invalid(dir, "the module exports no extension point", "hosts call "+string(abi.NodeBefore)+", "+string(abi.ToolCall)+" and the like",
			"export one, with the SDK's way to do so (abi/README.md, Extension points)")
	}
	return nil
}
