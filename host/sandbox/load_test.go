package sandbox_test

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// hidden reports a character that a terminal would act on rather than show.
func hidden(r rune) bool { return !unicode.IsPrint(r) }

func TestLoadRefuses(t *testing.T) {
	r := newRuntime(t)
	for name, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		"evil-import":    {kernel.CodeModuleImport, "env.evil"},
		"wasi-socket":    {kernel.CodeModuleImport, "sock_open"},
		"wasi-preview0":  {kernel.CodeModuleImport, "wasi_unstable"},
		"future-version": {kernel.CodeModuleImport, "hexdag_v2"},
		"wrong-import":   {kernel.CodeModuleImport, "(i64, i64)"},
		"memory-import":  {kernel.CodeModuleImport, "memory"},
		"ansi-import":    {kernel.CodeModuleImport, `\x1b[31m`},
		"wrong-export":   {kernel.CodeModuleExport, "port_before"},
		"wrong-init":     {kernel.CodeModuleExport, "_initialize"},
		"no-memory":      {kernel.CodeModuleExport, "memory"},
		"tail-call":      {kernel.CodeModuleInvalid, "tail"},
		"threads":        {kernel.CodeModuleInvalid, "thread"},
		"exceptions":     {kernel.CodeModuleInvalid, "exception"},
		"memory64":       {kernel.CodeModuleInvalid, "64"},
		"multi-memory":   {kernel.CodeModuleInvalid, "memor"},
	} {
		m, err := r.Load(context.Background(), hostile(t, name), sandbox.LoadOptions{Name: "guest"})
		if err == nil {
			m.Close(context.Background())
		}
		wantCode(t, err, want.code)
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		if text := err.Error(); !strings.Contains(text, want.says) || strings.ContainsFunc(text, hidden) {
			t.Errorf("%s: %q should say %q and hold nothing that a terminal acts on", name, text, want.says)
		}
	}
}

func TestLoadRefusesBytes(t *testing.T) {
	r := newRuntime(t)
	probeBytes := probe.Wasm
	for name, c := range map[string]struct {
		wasm []byte
		code kernel.Code
	}{
		"nothing":         {nil, kernel.CodeModuleInvalid},
		"a short header":  {probeBytes[:7], kernel.CodeModuleInvalid},
		"another magic":   {[]byte("\x7fELF\x01\x00\x00\x00"), kernel.CodeModuleInvalid},
		"version 2":       {[]byte("\x00asm\x02\x00\x00\x00"), kernel.CodeModuleInvalid},
		"a component":     {[]byte("\x00asm\x0d\x00\x01\x00"), kernel.CodeModuleComponent},
		"only a header":   {probeBytes[:8], kernel.CodeModuleExport},
		"too many bytes":  {append([]byte("\x00asm\x01\x00\x00\x00"), make([]byte, 32<<20)...), kernel.CodeLimit},
		"a long section":  {append([]byte("\x00asm\x01\x00\x00\x00"), 0, 0xff, 0xff, 0xff, 0xff, 0x0f), kernel.CodeModuleInvalid},
		"an open LEB":     {append([]byte("\x00asm\x01\x00\x00\x00"), 1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80), kernel.CodeModuleInvalid},
		"garbage":         {append([]byte("\x00asm\x01\x00\x00\x00"), "garbage behind the header"...), kernel.CodeModuleInvalid},
		"half of a probe": {probeBytes[:len(probeBytes)/2], kernel.CodeModuleInvalid},
	} {
		m, err := r.Load(context.Background(), c.wasm, sandbox.LoadOptions{Name: "guest"})
		if err == nil {
			m.Close(context.Background())
		}
		if got := kernel.CodeOf(err); got != c.code {
			t.Errorf("%s: code %q, want %q (%v)", name, got, c.code, err)
		}
	}
}

// No cut of a module and no flipped byte makes the host panic.
func TestLoadOfDamagedModules(t *testing.T) {
	r := newRuntime(t)
	try := func(wasm []byte) {
		if m, err := r.Load(context.Background(), wasm, sandbox.LoadOptions{Name: "guest"}); err == nil {
			m.Close(context.Background())
		} else if kernel.CodeOf(err) == kernel.CodeInternal {
			t.Errorf("%v", err)
		}
	}
	early := hostile(t, "early")
	for i := range early {
		try(early[:i])
		damaged := append([]byte(nil), early...)
		damaged[i] ^= 0xff
		try(damaged)
	}
}

// What a guest says of itself, in a trap, a reason or a name, is shown escaped.
func TestErrorsShowNoEscapes(t *testing.T) {
	const nasty = "\x1b[2J\nFAKE\u202e\x00"
	entry := append([]byte{1, 0, byte(len(nasty))}, nasty...) // one name, of function 0
	names := append([]byte{1, byte(len(entry))}, entry...)    // subsection 1: functions
	wasm, err := abi.AppendCustomSection(hostile(t, "no-name"), "name", names)
	if err != nil {
		t.Fatal(err)
	}
	r := newRuntime(t)
	m, err := r.Load(context.Background(), wasm, sandbox.LoadOptions{Name: "guest" + nasty})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	_, err = m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore})
	wantCode(t, err, kernel.CodeTrap)
	if text := err.Error(); strings.ContainsFunc(text, hidden) {
		t.Errorf("%q holds what a terminal acts on", text)
	}
	_, err = m.Call(context.Background(), sandbox.Call{Point: abi.NodeRun})
	wantCode(t, err, kernel.CodeModuleExport)
	if text := err.Error(); strings.ContainsFunc(text, hidden) {
		t.Errorf("%q holds what a terminal acts on", text)
	}
}

func TestPageLimits(t *testing.T) {
	r := newRuntime(t)
	for name, limit := range map[string]uint64{"min-memory": 0, "min-memory-4g": 4 << 30} {
		m, err := r.Load(context.Background(), hostile(t, name), sandbox.LoadOptions{Name: "guest", Limits: sandbox.Limits{Memory: limit}})
		if err == nil {
			m.Close(context.Background())
			t.Errorf("%s is taken", name)
		}
		if code := kernel.CodeOf(err); code != kernel.CodeModuleInvalid && code != kernel.CodeLimit {
			t.Errorf("%s: code %q (%v)", name, code, err)
		}
	}
	// wazero 1.12 panics in the host where an address ends exactly at 4 GiB.
	m := load(t, r, hostile(t, "high-load"), sandbox.Limits{Memory: 4 << 30, Deadline: 5 * time.Second})
	_, _, err := call(t, m, sandbox.Call{})
	wantCode(t, err, kernel.CodeTrap)
}
