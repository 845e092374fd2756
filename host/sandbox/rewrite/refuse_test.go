package rewrite

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// withCode is a module of one function with the given code and what it may need.
func withCode(code ...any) []byte {
	m := builder{memories: [][]byte{asm(0, 1)}, tables: [][]byte{asm(FuncRef, 0, 1)}}
	m.fn("f", nothing, nil, asm(code...))
	return m.wasm()
}

func withSection(id int, payload ...any) []byte {
	return appendSection(append(append([]byte{}, magic...), version1...), byte(id), asm(payload...))
}

func TestRefusedFeatures(t *testing.T) {
	for name, test := range map[string]struct {
		feature string
		wasm    []byte
	}{
		"component":            {FeatureComponent, append(append([]byte{}, magic...), component...)},
		"return_call":          {FeatureTailCall, withCode(0x12, 0)},
		"return_call_indirect": {FeatureTailCall, withCode(0x13, 0, 0)},
		"call_ref":             {FeatureTypedRefs, withCode(0x14, 0)},
		"typed ref":            {FeatureTypedRefs, withSection(1, 1, 0x60, 1, 0x63, 0, 0)},
		"table initializer":    {FeatureTypedRefs, withSection(4, 1, 0x40, 0, FuncRef, 0, 1, opRefNull, FuncRef, opEnd)},
		"atomic":               {FeatureThreads, withCode(0xfe, 0x03, 0)},
		"shared memory":        {FeatureThreads, withSection(5, 1, 3, 1, 2)},
		"throw":                {FeatureExceptions, withCode(0x08, 0)},
		"try":                  {FeatureExceptions, withCode(0x06, 0x40, opEnd)},
		"try_table":            {FeatureExceptions, withCode(0x1f, 0x40, 0, opEnd)},
		"tag section":          {FeatureExceptions, withSection(13, 1, 0, 0)},
		"imported tag":         {FeatureExceptions, withSection(2, 1, "a", "b", 4, 0, 0)},
		"memory64":             {FeatureMemory64, withSection(5, 1, 4, 1)},
		"page size":            {FeatureCustomPageSize, withSection(5, 1, 8, 1, 0)},
		"two memories":         {FeatureMultiMemory, withSection(5, 2, 0, 1, 0, 1)},
		"memory index":         {FeatureMultiMemory, withCode(opI32Const, 0, opMemoryGrow, 1, opDrop)},
		"memory in memarg":     {FeatureMultiMemory, withCode(opI32Const, 0, 0x28, 0x42, 1, 0, opDrop)},
		"data of a memory":     {FeatureMultiMemory, withSection(11, 1, 2, 1, opI32Const, 0, opEnd, 0)},
		"struct type":          {FeatureGC, withSection(1, 1, 0x5f, 0)},
		"rec type":             {FeatureGC, withSection(1, 1, 0x4e, 0)},
		"GC instruction":       {FeatureGC, withCode(0xfb, 0, 0)},
		"ref.eq":               {FeatureGC, withCode(0xd3)},
		"relaxed SIMD":         {FeatureRelaxedSIMD, withCode(0xfd, 0x80, 2)},
		"wide arithmetic":      {FeatureWideArithmetic, withCode(0xfc, 19)},
		"extended const":       {FeatureExtendedConst, withSection(6, 1, I32, 0, opI32Const, 1, opI32Const, 2, opI32Add, opEnd)},
		"mutable import":       {FeatureMutableImport, withSection(2, 1, "a", "b", 3, I32, 1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Module(test.wasm, DefaultOptions())
			var unsupported *UnsupportedError
			if !errors.As(err, &unsupported) || unsupported.Feature != test.feature {
				t.Fatalf("got %v", err)
			}
			var e *kernel.Error
			if !errors.As(err, &e) || e.Fix == "" || !strings.Contains(err.Error(), test.feature) {
				t.Errorf("got %#v", err)
			}
			want := kernel.CodeModuleInvalid
			if test.feature == FeatureComponent {
				want = kernel.CodeModuleComponent
			}
			if e.Code != want {
				t.Errorf("code %s", e.Code)
			}
			if _, inspected := Inspect(test.wasm, DefaultOptions()); fmt.Sprint(inspected) != err.Error() {
				t.Errorf("Inspect says %v", inspected)
			}
		})
	}
}

func TestRefusedInvalid(t *testing.T) {
	exporting := func(name string) []byte {
		var m builder
		m.fn(name, nothing, nil, nil)
		return m.wasm()
	}
	for name, wasm := range map[string][]byte{
		"empty":                    nil,
		"no module":                []byte("#!/bin/sh\n"),
		"version 2":                []byte("\x00asm\x02\x00\x00\x00"),
		"unknown section":          withSection(14, 0),
		"section twice":            append(withSection(1, 0), 1, 1, 0),
		"sections out of order":    append(withSection(3, 0), 1, 1, 0),
		"unknown opcode":           withCode(0xff),
		"unknown misc opcode":      withCode(0xfc, 23),
		"unknown SIMD opcode":      withCode(0xfd, 0x9a, 1),
		"unknown type":             withSection(1, 1, 0x60, 1, 0x01, 0),
		"count without entries":    withSection(1, uint32(9999)),
		"bytes after a section":    withSection(1, 0, 0),
		"number too long":          withSection(1, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
		"call out of range":        withCode(opCall, 1),
		"call of what is added":    withCode(opCall, 2),
		"global of what is added":  withCode(opGlobalGet, 0, opDrop),
		"type of what is added":    withCode(opBlock, 1, opEnd),
		"local that is added":      withCode(opLocalGet, 0, opDrop),
		"branch out of range":      withCode(opBr, 1),
		"else without if":          withCode(opElse),
		"end missing":              withCode(opBlock, emptyBlock),
		"end too many":             withCode(opEnd),
		"memory max below min":     withSection(5, 1, 1, 3, 2),
		"memory above 4 GiB":       withSection(5, 1, 1, 1, uint32(65537)),
		"start out of range":       withSection(8, 0),
		"export of hexdag.x":       exporting("hexdag.x"),
		"export of what is added":  withSection(7, 1, "a", 3, 0),
		"import from hexdag":       withSection(2, 1, "hexdag", "refill", 3, I32, 0),
		"function without a body":  withSection(3, 1, 0),
		"initializer not constant": withSection(6, 1, I32, 0, opCall, 0, opEnd),
		"two values":               withSection(6, 1, I32, 0, opI32Const, 0, opNop, opEnd),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Module(wasm, DefaultOptions())
			var e *kernel.Error
			if !errors.As(err, &e) || e.Code != kernel.CodeModuleInvalid || e.Why == "" || e.Fix == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRefusedTwice(t *testing.T) {
	res, err := Module(withCode(), DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Module(res.Wasm, DefaultOptions()); !errors.Is(err, ErrRewritten) || !strings.Contains(err.Error(), "rewritten before") {
		t.Errorf("got %v", err)
	}
}

// TestEscaped has a module put control characters into an error.
func TestEscaped(t *testing.T) {
	_, err := Module(withSection(2, 1, "hexdag.\x1b[2J", "a\nb", 3, I32, 0), DefaultOptions())
	if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("got %q", err)
	}
}

func TestLimits(t *testing.T) {
	repeat := func(n int, parts ...any) []byte {
		var b []byte
		for range n {
			b = append(b, asm(parts...)...)
		}
		return b
	}
	for name, test := range map[string]struct {
		limit string
		set   func(*Options)
		wasm  []byte
	}{
		"module":    {"module bytes", func(o *Options) { o.MaxModuleBytes = 20 }, withCode()},
		"types":     {"types", func(o *Options) { o.MaxTypes = 1 }, withSection(1, 2, 0x60, 0, 0, 0x60, 0, 0)},
		"params":    {"parameters or results", func(o *Options) { o.MaxParams = 1 }, withSection(1, 1, 0x60, 2, I32, I32, 0)},
		"functions": {"functions", func(o *Options) { o.MaxFunctions = 0 }, withCode()},
		"imports":   {"imports", func(o *Options) { o.MaxImports = 0 }, withSection(2, 1, "a", "b", 3, I32, 0)},
		"exports":   {"exports", func(o *Options) { o.MaxExports = 0 }, withCode()},
		"globals":   {"globals", func(o *Options) { o.MaxGlobals = 0 }, withSection(6, 1, I32, 0, opI32Const, 0, opEnd)},
		"tables":    {"tables", func(o *Options) { o.MaxTables = 0 }, withCode()},
		"elements":  {"elements", func(o *Options) { o.MaxElements = 1 }, append(withCode()[:8], withSection(9, 1, 1, 0, 2, 0, 0)[8:]...)},
		"segments":  {"element segments", func(o *Options) { o.MaxElementSegments = 0 }, withSection(9, 1, 1, 0, 0)},
		"table":     {"table elements", func(o *Options) { o.MaxTableElements = 9 }, withSection(4, 1, FuncRef, 0, 10)},
		"memory":    {"memory pages", func(o *Options) { o.MaxMemoryPages = 9 }, withSection(5, 1, 0, 10)},
		"65536":     {"memory pages", func(o *Options) { o.MaxMemoryPages = 1 << 20 }, withSection(5, 1, 0, uint32(65536))},
		"data":      {"data bytes", func(o *Options) { o.MaxDataBytes = 2 }, withSection(11, 2, 1, 2, 0, 0, 1, 1, 0)},
		"datas":     {"data segments", func(o *Options) { o.MaxDataSegments = 1 }, withSection(11, 2, 1, 2, 0, 0, 1, 1, 0)},
		"names":     {"name section bytes", func(o *Options) { o.MaxNameBytes = 2 }, withSection(0, "name", 0, 1, 0)},
		"custom":    {"custom section bytes", func(o *Options) { o.MaxCustomBytes = 2 }, withSection(0, "x", 0, 1, 0)},
		"customs":   {"custom sections", func(o *Options) { o.MaxCustomNumber = 0 }, withSection(0, "x")},
		"body":      {"function body bytes", func(o *Options) { o.MaxBodyBytes = 9 }, withCode(repeat(9, opNop))},
		"locals": {"locals", func(o *Options) {}, func() []byte {
			m := builder{}
			m.rawFn("f", nothing, asm(1, uint32(1<<31), I32, opEnd))
			return m.wasm()
		}()},
		"br_table":   {"targets of br_table", func(o *Options) { o.MaxBrTable = 1 }, withCode(opI32Const, 0, opBrTable, 2, 0, 0, 0)},
		"nesting":    {"nesting of blocks", func(o *Options) {}, withCode(repeat(5000, opBlock, emptyBlock), repeat(5000, opEnd))},
		"if chain":   {"blocks and branches in a function", func(o *Options) {}, withCode(repeat(12_000, opI32Const, 0, opIf, emptyBlock, opEnd))},
		"deep loops": {"locals times loop depth", func(o *Options) {}, loopBomb(50, 500)},
	} {
		t.Run(name, func(t *testing.T) {
			opts := DefaultOptions()
			test.set(&opts)
			_, err := Module(test.wasm, opts)
			var limit *LimitError
			if !errors.As(err, &limit) || limit.Name != test.limit || limit.Value <= limit.Limit || kernel.CodeOf(err) != kernel.CodeLimit {
				t.Errorf("got %v", err)
			}
			_, setting, named := strings.Cut(err.Error(), "raise static_limits.")
			if known := func(s Setting) bool { return s.Name+")" == setting }; test.limit != "memory pages" && (!named || !slices.ContainsFunc(opts.Settings(), known)) {
				t.Errorf("%v names no setting to raise", err)
			}
		})
	}
}

// Every setting has a safe default, and is no other's.
func TestSettings(t *testing.T) {
	var o Options
	set := o.Settings()
	for i, s := range set {
		*s.Value = i + 1
	}
	for i, s := range set {
		if *s.Value != i+1 {
			t.Errorf("%s is another setting, too", s.Name)
		}
	}
	defaults := DefaultOptions()
	for i, s := range defaults.Settings() {
		if *s.Value <= 0 {
			t.Errorf("%s has no default", s.Name)
		}
		one := Options{}
		*one.Settings()[i].Value = 7
		merged := one.Or(defaults)
		for j, m := range merged.Settings() {
			if want := *defaults.Settings()[j].Value; i != j && *m.Value != want || i == j && *m.Value != 7 {
				t.Errorf("%s alone set: %s is %d", s.Name, m.Name, *m.Value)
			}
		}
	}
	for name, setting := range settingOf {
		if !slices.ContainsFunc(set, func(s Setting) bool { return s.Name == setting }) {
			t.Errorf("%s: there is no setting %s", name, setting)
		}
	}
}

// loopBomb is a function of nested loops and many locals, which takes a
// compiler long.
func loopBomb(depth, locals int) []byte {
	var m builder
	var code []byte
	for range depth {
		code = append(code, opLoop, emptyBlock)
	}
	for i := range locals {
		code = append(code, asm(opLocalGet, uint32(i), opI32Const, 1, opI32Add, opLocalSet, uint32(i))...)
	}
	for range depth {
		code = append(code, asm(opLocalGet, 0, opBrIf, 0, opEnd)...)
	}
	m.fn("f", nothing, make64(I32, locals), code)
	return m.wasm()
}
