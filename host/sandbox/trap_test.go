package sandbox_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// named gives function 0 of a module a name.
func named(t *testing.T, wasm []byte, name string) []byte {
	t.Helper()
	entry := append([]byte{1, 0, byte(len(name))}, name...)
	wasm, err := abi.AppendCustomSection(wasm, "name", append([]byte{1, byte(len(entry))}, entry...))
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// TestTrapSaysWhere names the guest's functions, and the last call of the host.
func TestTrapSaysWhere(t *testing.T) {
	r := newRuntime(t)
	for name, says := range map[string]string{"divide": ", in divide", "a (b): c\x1b[1m": `, in a (b): c\x1b[1m`} {
		m := load(t, r, named(t, hostile(t, "no-name"), name), sandbox.Limits{})
		_, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore})
		wantCode(t, err, kernel.CodeTrap)
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "last call") {
			t.Errorf("%q: %v", name, err)
		}
	}
	m := load(t, r, hostile(t, "no-name"), sandbox.Limits{})
	_, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore})
	if wantCode(t, err, kernel.CodeTrap); strings.Contains(err.Error(), "$") {
		t.Errorf("a number of the rewritten module is shown: %v", err)
	}

	h := &fakeHost{call: func(_ context.Context, op string, _ map[string]any, _ []byte) (*kernel.PortReply, error) {
		if op == "a.b" {
			return &kernel.PortReply{Value: "x"}, nil
		}
		return nil, errDenied
	}}
	m = loadProbe(t, sandbox.Limits{})
	trap := func(s *probe.Script) string {
		t.Helper()
		_, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: input(), Body: s.Do(probe.Trap).Image(), Host: h})
		wantCode(t, err, kernel.CodeTrap)
		return err.Error()
	}
	both := new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0).Do(probe.Call, "c.\x1bd", 0, 0, 0, 0)
	if text := trap(both); !strings.Contains(text, `; the last call of the host was c.\x1bd, which answered denied`) {
		t.Error(text)
	}
	if text := trap(new(probe.Script).Do(probe.Call, "a.b", 0, 0, 0, 0)); !strings.Contains(text, "was a.b, which answered ok") {
		t.Error(text)
	}
	if text := trap(new(probe.Script)); strings.Contains(text, "last call") {
		t.Errorf("another call's: %s", text)
	}
}

// TestMissingExportSuggests names what was likely to be meant.
func TestMissingExportSuggests(t *testing.T) {
	// (module (func (export "nod_before") (param i32) (result i64) i64.const 0) (memory (export "memory") 1))
	const slip = "\x00asm\x01\x00\x00\x00" + "\x01\x06\x01\x60\x01\x7f\x01\x7e" + "\x03\x02\x01\x00" + "\x05\x03\x01\x00\x01" +
		"\x07\x17\x02" + "\x0anod_before\x00\x00" + "\x06memory\x02\x00" + "\x0a\x06\x01\x04\x00\x42\x00\x0b"
	m := load(t, newRuntime(t), []byte(slip), sandbox.Limits{})
	for point, says := range map[abi.Point]string{
		abi.NodeBefore: "it exports no extension point; it exports nod_before: did you mean node_before?",
		"node_bfore":   "node_bfore is none: did you mean node_before?",
		"\x1bx":        `\x1bx is none`,
		abi.ToolCall:   "it exports no extension point (",
	} {
		_, err := m.Call(t.Context(), sandbox.Call{Point: point})
		wantCode(t, err, kernel.CodeModuleExport)
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", point, err)
		}
	}
}

// TestUnknownImportSuggests does the same for an import.
func TestUnknownImportSuggests(t *testing.T) {
	// (module (import "hexdag_v1" "fields" (func)) (memory (export "memory") 1))
	const slip = "\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x02\x14\x01\x09hexdag_v1\x06fields\x00\x00" + "\x05\x03\x01\x00\x01" + "\x07\x0a\x01\x06memory\x02\x00"
	_, err := newRuntime(t).Load(t.Context(), []byte(slip), sandbox.LoadOptions{})
	wantCode(t, err, kernel.CodeModuleImport)
	if !strings.Contains(err.Error(), "did you mean field?") {
		t.Error(err)
	}
}
