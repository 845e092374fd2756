package policy

import (
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// A policy imports its memory and its host functions from one module, "env", and
// wazero's host modules cannot export a memory. So the functions are in a host
// module, and "env" is a few bytes of WebAssembly, one module an instance, that
// makes the memory and passes the functions on.
const (
	envModule  = "env"
	hostModule = "hexdag_opa"
)

// hostFunction is a function that OPA's ABI has the host provide. All take i32s.
type hostFunction struct {
	name   string
	params int
	result bool
	call   api.GoModuleFunc
}

func hostFunctions() []hostFunction {
	builtin := func(args int) api.GoModuleFunc {
		return func(ctx context.Context, _ api.Module, stack []uint64) {
			// id, an unused context, then the arguments.
			stack[0] = uint64(instanceFrom(ctx).builtin(ctx, uint32(stack[0]), stack[2:2+args]))
		}
	}
	return []hostFunction{
		{"opa_abort", 1, false, func(ctx context.Context, _ api.Module, stack []uint64) {
			instanceFrom(ctx).abort(uint32(stack[0]))
		}},
		{"opa_println", 1, false, func(ctx context.Context, _ api.Module, stack []uint64) {
			instanceFrom(ctx).println(ctx, uint32(stack[0]))
		}},
		{"opa_builtin0", 2, true, builtin(0)},
		{"opa_builtin1", 3, true, builtin(1)},
		{"opa_builtin2", 4, true, builtin(2)},
		{"opa_builtin3", 5, true, builtin(3)},
		{"opa_builtin4", 6, true, builtin(4)},
	}
}

func instantiateHost(ctx context.Context, rt wazero.Runtime) error {
	b := rt.NewHostModuleBuilder(hostModule)
	for _, f := range hostFunctions() {
		params := make([]api.ValueType, f.params)
		for i := range params {
			params[i] = api.ValueTypeI32
		}
		var results []api.ValueType
		if f.result {
			results = []api.ValueType{api.ValueTypeI32}
		}
		b.NewFunctionBuilder().WithGoModuleFunction(f.call, params, results).Export(f.name)
	}
	_, err := b.Instantiate(ctx)
	return err
}

// WebAssembly's binary format, as much as envWasm needs.
const (
	sectionType, sectionImport, sectionMemory, sectionExport = 1, 2, 5, 7

	kindFunc, kindMemory = 0, 2
	typeFunc, typeI32    = 0x60, 0x7f
)

// envWasm assembles the module "env" with a memory of minPages to maxPages.
func envWasm(minPages, maxPages uint32) []byte {
	functions := hostFunctions()
	types := leb(uint32(len(functions)))
	imports := leb(uint32(len(functions)))
	exports := leb(uint32(len(functions) + 1))
	for i, f := range functions {
		types = append(types, typeFunc)
		types = append(types, leb(uint32(f.params))...)
		for range f.params {
			types = append(types, typeI32)
		}
		if f.result {
			types = append(types, 1, typeI32)
		} else {
			types = append(types, 0)
		}
		imports = append(append(imports, name(hostModule)...), name(f.name)...)
		imports = append(append(imports, kindFunc), leb(uint32(i))...)
		exports = append(append(exports, name(f.name)...), kindFunc)
		exports = append(exports, leb(uint32(i))...)
	}
	memory := append(append([]byte{1, 1}, leb(minPages)...), leb(maxPages)...)
	exports = append(append(exports, name("memory")...), kindMemory, 0)

	wasm := []byte("\x00asm\x01\x00\x00\x00")
	wasm = append(wasm, section(sectionType, types)...)
	wasm = append(wasm, section(sectionImport, imports)...)
	wasm = append(wasm, section(sectionMemory, memory)...)
	return append(wasm, section(sectionExport, exports)...)
}

func section(id byte, body []byte) []byte {
	return append(append([]byte{id}, leb(uint32(len(body)))...), body...)
}

func name(s string) []byte { return append(leb(uint32(len(s))), s...) }

// leb encodes n as an unsigned LEB128 number.
func leb(n uint32) []byte {
	var b []byte
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}
