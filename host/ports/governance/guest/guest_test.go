package guest_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/allowall"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/guest"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/toolchain"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// load loads a module with a configuration, in JSON.
func load(t testing.TB, path, config string) *extension.Module {
	t.Helper()
	runtime, err := sandbox.New(t.Context(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = runtime.Close(context.Background()) })
	v, err := kernel.DecodeJSON([]byte(config))
	if err != nil {
		t.Fatal(err)
	}
	door := ports.NewDoor(governance.New(allowall.Driver{}, governance.Options{}), nil)
	m, err := extension.Load(t.Context(), runtime, door, slog.New(slog.DiscardHandler), extension.Spec{Name: "governor", Path: path, Config: v, Limits: sandbox.Limits{Deadline: 500 * time.Millisecond, Fuel: 1 << 40}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func governor(t testing.TB, config string) *guest.Driver {
	t.Helper()
	d, err := guest.New(load(t, "testdata/governor.wasm", config))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func ask(action string) *kernel.AccessRequest {
	return &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "ada"}, Action: kernel.Act{Name: action}, Resource: kernel.Resource{Type: "t", ID: "x"}}
}

const config = `{
	"decisions": {
		"a.allow": {"effect": "allow", "reasons": [{"id": "g.a", "msg": "yes"}], "ttl_s": 60},
		"a.approve": {"effect": "approve", "reasons": [{"id": "g.b", "msg": "ask"}], "obligations": [{"type": "approval", "by": ["lead"]}]},
		"a.deny": {"effect": "deny", "reasons": [{"id": "g.c", "msg": "no"}]},
		"a.refuse": "not \u001b today",
		"a.trap": true, "a.spin": 1, "a.error": ["x"],
		"a.effect": {"effect": "maybe"}, "a.case": {"Effect": "allow"}, "a.misspelt": {"effect": "allow", "obligation": []},
		"a.obligation": {"effect": "allow", "obligations": [{"type": "sing"}]}, "a.reasons": {"effect": "allow", "reasons": "because"}
	},
	"permissions": {"permissions": [{"action": "a.allow", "resource": "**", "effect": "allow", "rules": ["g.a"]}, {"action": "a.approve", "resource": "t:*", "effect": "approve"}]}
}`

func TestConformance(t *testing.T) {
	d := governor(t, config)
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("a.allow"), Denied: ask("a.deny")}
	})
}

func TestDecisions(t *testing.T) {
	port := governance.New(governor(t, config), governance.Options{Timeout: 10 * time.Second})
	for action, want := range map[string]struct {
		effect kernel.Effect
		reason string
		says   string
	}{
		"a.allow":      {kernel.Allow, "g.a", "yes"},
		"a.approve":    {kernel.Approve, "g.b", "ask"},
		"a.deny":       {kernel.Forbid, "g.c", "no"},
		"a.refuse":     {kernel.Forbid, "module:governor", `not \x1b today`},
		"a.trap":       {kernel.Forbid, governance.ReasonError, "unreachable"},
		"a.spin":       {kernel.Forbid, governance.ReasonTimeout, ""},
		"a.error":      {kernel.Forbid, governance.ReasonError, "failed in authorize"},
		"a.unknown":    {kernel.Forbid, governance.ReasonUndefined, "no rule"},
		"a.effect":     {kernel.Forbid, governance.ReasonEffect, "maybe"},
		"a.case":       {kernel.Forbid, governance.ReasonError, "no member Effect"},
		"a.misspelt":   {kernel.Forbid, governance.ReasonError, "no member obligation"},
		"a.obligation": {kernel.Forbid, governance.ReasonObligation, "sing"},
		"a.reasons":    {kernel.Forbid, governance.ReasonError, "cannot unmarshal"},
	} {
		d, err := port.Authorize(t.Context(), ask(action))
		if err != nil || d.Effect != want.effect || len(d.Reasons) == 0 || d.Reasons[0].ID != want.reason || !strings.Contains(d.Reasons[0].Msg, want.says) {
			t.Errorf("%s: %+v, %v; want %s by %s, %q", action, d, err, want.effect, want.reason, want.says)
		}
	}
	// What one call did to it another does not see.
	if d, _ := port.Authorize(t.Context(), ask("a.allow")); d.Effect != kernel.Allow || !strings.HasPrefix(d.Revision, "sha256:") {
		t.Errorf("after traps: %+v", d)
	}
}

type discard struct{}

func (discard) Audit(context.Context, *kernel.AuditRecord) error { return nil }

func TestAudit(t *testing.T) {
	for audit, code := range map[string]kernel.Code{`null`: "", `{}`: "", `"not this"`: kernel.CodeAudit, `true`: kernel.CodeAudit, `1`: kernel.CodeAudit, `[]`: kernel.CodeAudit} {
		text := `{"audit": ` + audit + `, "decisions": {"a.b": {"effect": "allow"}}}`
		port := governance.New(governor(t, text), governance.Options{Auditor: discard{}, Timeout: 5 * time.Second})
		if err := port.Audit(t.Context(), &kernel.AuditRecord{Kind: "note", Action: "x"}); kernel.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", audit, err, code)
		}
		if d, _ := port.Authorize(t.Context(), ask("a.b")); (d.Effect == kernel.Allow) != (code == "") {
			t.Errorf("%s: %+v", audit, d)
		}
	}
}

func TestPermissions(t *testing.T) {
	for list, says := range map[string]string{
		`{"permissions": [{"action": "a", "effect": "maybe"}]}`: "maybe",
		`{"permission": []}`: "unknown field", `true`: "unreachable", `"no"`: "refused permissions", `[]`: "failed in permissions",
	} {
		_, err := governance.New(governor(t, `{"permissions": `+list+`}`), governance.Options{}).ListPermissions(t.Context(), &governance.Query{})
		if kernel.CodeOf(err) != kernel.CodeFailed || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", list, err, says)
		}
	}
	list, err := governance.New(governor(t, config), governance.Options{}).ListPermissions(t.Context(), &governance.Query{Subject: kernel.Subject{Type: "user", ID: "ada"}})
	if err != nil || !list.Patterns || governance.Listed(list, "a.approve", kernel.Resource{Type: "t", ID: "x"}) != kernel.Approve || governance.Listed(list, "a.deny", kernel.Resource{Type: "t", ID: "x"}) != kernel.Forbid {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestNeedsAuthorize(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hook.wasm")
	// (module (memory (export "memory") 1) (func (export "node_run") (param i32) (result i64) (i64.const 0)))
	wasm := []byte("\x00asm\x01\x00\x00\x00\x01\x06\x01\x60\x01\x7f\x01\x7e\x03\x02\x01\x00\x05\x03\x01\x00\x01\x07\x15\x02\x06memory\x02\x00\x08node_run\x00\x00\x0a\x06\x01\x04\x00\x42\x00\x0b")
	if err := os.WriteFile(path, wasm, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := guest.New(load(t, path, "{}"))
	if kernel.CodeOf(err) != kernel.CodeModuleExport || !strings.Contains(err.Error(), "[node_run]") {
		t.Error(err)
	}
}

// TestGoGuest has a module of the Go SDK decide, through its own source and compiler.
func TestGoGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("a Go guest is compiled")
	}
	path := filepath.Join(t.TempDir(), "clerk.wasm")
	if err := toolchain.Build(t.Context(), "../../../../guests/clerk", path, io.Discard); err != nil {
		t.Fatal(err)
	}
	d, err := guest.New(load(t, path, `{"allow": ["a.allow"], "approve": ["a.approve"], "secret": "hunter2"}`))
	if err != nil {
		t.Fatal(err)
	}
	governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
		return governancetest.Harness{Driver: d, Allowed: ask("a.allow")}
	})
	port := governance.New(d, governance.Options{Auditor: discard{}})
	for action, effect := range map[string]kernel.Effect{"a.allow": kernel.Allow, "a.approve": kernel.Approve, "a.other": kernel.Forbid} {
		got, _ := port.Authorize(t.Context(), ask(action))
		list, err := port.ListPermissions(t.Context(), &governance.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if listed := governance.Listed(list, action, kernel.Resource{Type: "t", ID: "x"}); got.Effect != effect || listed != effect {
			t.Errorf("%s: %+v, listed as %s", action, got, listed)
		}
	}
	if err := port.Audit(t.Context(), &kernel.AuditRecord{Kind: "note", Action: "x", Detail: "it is hunter2"}); kernel.CodeOf(err) != kernel.CodeAudit || !strings.Contains(err.Error(), "tells a secret") {
		t.Error(err)
	}
}

// The assembled guest is that of its source.
func TestSource(t *testing.T) {
	assembler := testenv.NeedProgram(t, "wat2wasm", "wabt")
	out := filepath.Join(t.TempDir(), "governor.wasm")
	if text, err := exec.CommandContext(t.Context(), assembler, "testdata/governor.wat", "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("testdata/governor.wasm")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("testdata/governor.wasm is not what wat2wasm makes of governor.wat (%v)", err)
	}
}

func BenchmarkAuthorize(b *testing.B) {
	port := governance.New(governor(b, strings.Replace(config, `, "ttl_s": 60`, "", 1)), governance.Options{})
	for b.Loop() {
		if d, _ := port.Authorize(b.Context(), ask("a.allow")); d.Effect != kernel.Allow {
			b.Fatal(d)
		}
	}
}
