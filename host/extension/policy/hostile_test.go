package policy

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

// Opcodes, as far as fakes need them.
const (
	opUnreachable, opLoop, opBr, opEnd, opCall, opDrop, opConst = 0x00, 0x03, 0x0c, 0x0b, 0x10, 0x1a, 0x41
	typeEmpty                                                   = 0x40
)

// fake is a module with the shape of a policy and bodies of our own. What is not set
// behaves. Function 0 is opa_abort, 1 is opa_builtin0.
type fake struct {
	major, minor byte
	bodies       map[string][]byte
	without      string // an export to leave out
	imports      [][2]string
}

// Addresses of texts in a fake's memory.
const (
	atEmptyObject, atEntrypoints, atBuiltins, atNoEnd = 1024, 1040, 1072, 1<<17 - 4
)

func constant(n uint32) []byte {
	return append([]byte{opConst}, sleb(int32(n))...)
}

func sleb(n int32) []byte {
	var b []byte
	for {
		low := byte(n & 0x7f)
		n >>= 7
		if n == 0 && low&0x40 == 0 || n == -1 && low&0x40 != 0 {
			return append(b, low)
		}
		b = append(b, low|0x80)
	}
}

func (f fake) build() []byte {
	signatures := map[string][2]int{
		"opa_eval": {7, 1}, "builtins": {0, 1}, "entrypoints": {0, 1}, "opa_malloc": {1, 1}, "opa_json_dump": {1, 1},
		"opa_value_parse": {2, 1}, "opa_value_dump": {1, 1}, "opa_heap_ptr_get": {0, 1},
	}
	bodies := map[string][]byte{
		"opa_eval": constant(atEmptyObject + 2), // past {}, the empty text
		"builtins": constant(atBuiltins), "entrypoints": constant(atEntrypoints), "opa_malloc": constant(4096), "opa_json_dump": {0x20, 0},
		"opa_value_parse": constant(4096), "opa_value_dump": constant(atEmptyObject), "opa_heap_ptr_get": constant(8192),
	}
	maps.Copy(bodies, f.bodies)
	if f.imports == nil {
		f.imports = [][2]string{{"env", "opa_abort"}, {"env", "opa_builtin0"}}
	}
	types := []byte{typeFunc, 1, typeI32, 0, typeFunc, 2, typeI32, typeI32, 1, typeI32} // opa_abort, opa_builtin0
	imports := leb(uint32(len(f.imports) + 1))
	for i, im := range f.imports {
		imports = append(append(append(imports, name(im[0])...), name(im[1])...), kindFunc, byte(i))
	}
	imports = append(append(append(imports, name("env")...), name("memory")...), kindMemory, 0, 2)

	functions, code, exports := []byte{}, []byte{}, []byte{}
	names := slices.Sorted(maps.Keys(signatures))
	exported := uint32(2)
	for i, n := range names {
		types = append(types, typeFunc, byte(signatures[n][0]))
		types = append(types, strings.Repeat(string(rune(typeI32)), signatures[n][0])...)
		types = append(types, 1, typeI32)
		functions = append(functions, byte(i+2))
		body := append(append([]byte{0}, bodies[n]...), opEnd)
		code = append(append(code, leb(uint32(len(body)))...), body...)
		if n != f.without {
			exports = append(append(exports, name(n)...), kindFunc, byte(i+len(f.imports)))
			exported++
		}
	}
	const kindGlobal = 3
	exports = append(append(exports, name("opa_wasm_abi_version")...), kindGlobal, 0)
	exports = append(append(exports, name("opa_wasm_abi_minor_version")...), kindGlobal, 1)
	globals := []byte{2, typeI32, 0, opConst, f.major, opEnd, typeI32, 0, opConst, f.minor, opEnd}

	data := []byte{4}
	for _, d := range []struct {
		at   uint32
		text string
	}{{atEmptyObject, "{}\x00\x00"}, {atEntrypoints, "{\"p/decision\":0}\x00"}, {atBuiltins, "{\"time.now_ns\":7}\x00"}, {atNoEnd, "xxxx"}} {
		data = append(append(append(data, 0), constant(d.at)...), opEnd)
		data = append(data, name(d.text)...)
	}
	wasm := []byte("\x00asm\x01\x00\x00\x00")
	for _, s := range []struct {
		id   byte
		body []byte
	}{
		{1, append(leb(uint32(len(names)+2)), types...)}, {2, imports}, {3, append(leb(uint32(len(names))), functions...)},
		{6, globals}, {7, append(leb(exported), exports...)}, {10, append(leb(uint32(len(names))), code...)}, {11, data},
	} {
		wasm = append(wasm, section(s.id, s.body)...)
	}
	return wasm
}

func code(parts ...[]byte) []byte { return slices.Concat(parts...) }

func loop() []byte { return []byte{opLoop, typeEmpty, opBr, 0, opEnd, opUnreachable} }

func TestFakeLoads(t *testing.T) {
	// opa_eval gives the text "[]" of no results: undefined.
	f := fake{major: 1, minor: 3}
	p, err := Load(t.Context(), f.build(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if !slices.Equal(p.Entrypoints(), []string{"p/decision"}) {
		t.Errorf("entrypoints %v", p.Entrypoints())
	}
}

func TestHostileLoad(t *testing.T) {
	for name, tc := range map[string]struct {
		fake fake
		code kernel.Code
		says string
	}{
		"old ABI":            {fake{major: 1, minor: 1}, kernel.CodePolicy, "it is for ABI 1.1"},
		"new ABI":            {fake{major: 2, minor: 3}, kernel.CodePolicy, "it is for ABI 2.3"},
		"no eval":            {fake{major: 1, minor: 3, without: "opa_eval"}, kernel.CodePolicy, "does not export opa_eval"},
		"foreign import":     {fake{major: 1, minor: 3, imports: [][2]string{{"wasi_snapshot_preview1", "proc_exit"}, {"env", "opa_builtin0"}}}, kernel.CodePolicy, "imports wasi_snapshot_preview1.proc_exit"},
		"unknown import":     {fake{major: 1, minor: 3, imports: [][2]string{{"env", "opa_abort"}, {"env", "opa_http\x1b"}}}, kernel.CodePolicy, `imports env.opa_http\x1b`},
		"wrong import type":  {fake{major: 1, minor: 3, imports: [][2]string{{"env", "opa_builtin0"}, {"env", "opa_abort"}}}, kernel.CodePolicy, "cannot be instantiated"},
		"names outside":      {fake{major: 1, minor: 3, bodies: map[string][]byte{"entrypoints": constant(math.MaxUint32)}}, kernel.CodeABI, "outside its memory"},
		"names without end":  {fake{major: 1, minor: 3, bodies: map[string][]byte{"entrypoints": constant(atNoEnd)}}, kernel.CodeABI, "without an end"},
		"data not parsed":    {fake{major: 1, minor: 3, bodies: map[string][]byte{"opa_value_parse": constant(0)}}, kernel.CodePolicy, "cannot parse its data"},
		"malloc outside":     {fake{major: 1, minor: 3, bodies: map[string][]byte{"opa_malloc": constant(math.MaxUint32)}}, kernel.CodeABI, "memory that is not there"},
		"trap while loading": {fake{major: 1, minor: 3, bodies: map[string][]byte{"builtins": {opUnreachable}}}, kernel.CodeTrap, "failed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(t.Context(), tc.fake.build(), Options{})
			if kernel.CodeOf(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.says) {
				t.Errorf("got %s, %v; want %s, %q", kernel.CodeOf(err), err, tc.code, tc.says)
			}
		})
	}
}

func TestHostileEval(t *testing.T) {
	abort := code(constant(atEntrypoints), []byte{opCall, 0, opUnreachable})
	builtin := func(id uint32) []byte { return code(constant(id), constant(0), []byte{opCall, 1}) }
	for name, tc := range map[string]struct {
		eval []byte
		code kernel.Code
		says string
	}{
		"loop":                 {loop(), kernel.CodeTimeout, "deadline"},
		"trap":                 {[]byte{opUnreachable}, kernel.CodeTrap, "unreachable"},
		"abort":                {abort, kernel.CodeTrap, `aborted: {"p/decision":0}`},
		"abort goes on":        {code(constant(atNoEnd), []byte{opCall, 0}, constant(atEmptyObject)), kernel.CodeTrap, "without a readable message"},
		"builtin not listed":   {builtin(8), kernel.CodeABI, "a builtin 8"},
		"negative builtin":     {builtin(math.MaxUint32), kernel.CodeABI, "a builtin 4294967295"},
		"result outside":       {constant(1 << 30), kernel.CodeABI, "outside its memory"},
		"result without end":   {constant(atNoEnd), kernel.CodeABI, "without an end"},
		"result not Rego":      {constant(atEmptyObject + 1), kernel.CodeABI, "cannot be read"},
		"result not a list":    {constant(atEmptyObject), kernel.CodeABI, "not a list"},
		"endless recursion":    {code(slices.Repeat(constant(0), 7), []byte{opCall, 4}), kernel.CodeLimit, "nests calls too deep"},
		"the declared builtin": {code(builtin(7), []byte{opDrop}, constant(atEmptyObject)), kernel.CodeABI, "not a list"},
	} {
		t.Run(name, func(t *testing.T) {
			f := fake{major: 1, minor: 3, bodies: map[string][]byte{"opa_eval": tc.eval}}
			opts := Options{Timeout: 10 * time.Second, Instances: 1}
			if tc.code == kernel.CodeTimeout {
				opts.Timeout = 100 * time.Millisecond
			}
			p, err := Load(t.Context(), f.build(), opts)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for range 2 { // the second with the instance that replaced the first
				v, defined, err := p.Eval(context.Background(), "p/decision", nil)
				if defined || kernel.CodeOf(err) != tc.code || !strings.Contains(fmt.Sprint(err), tc.says) {
					t.Errorf("got %v, %s, %v; want %s, %q", v, kernel.CodeOf(err), err, tc.code, tc.says)
				}
			}
		})
	}
}

func FuzzParseTerm(f *testing.F) {
	for _, text := range []string{`{"a": [1, {2, 1}], 3: null}`, `set()`, `-1.5e3`, `"\u00fc"`, `{`, `[[`, `{1, 2: 3}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := parseTerm(text)
		if err != nil {
			return
		}
		once := string(appendTerm(nil, v, appendJSONString))
		again, err := parseTerm(once)
		if err != nil || compareTerms(v, again) != 0 {
			t.Fatalf("%q was read as %v, then as %v (%v)", text, v, again, err)
		}
	})
}
