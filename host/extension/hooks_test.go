package extension_test

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// through calls test.echo {topic: orders} as a person, with the hook around it.
func (s *site) through(t *testing.T, m *extension.Module, body []byte) (*kernel.PortReply, error) {
	t.Helper()
	hook, err := m.PortHook()
	if err != nil {
		t.Fatal(err)
	}
	door := s.door.With()
	door.Hook(ports.Registration{Name: "guest", Match: ports.MatchOps([]string{"test.*"}), Hook: hook})
	return door.Call(inRun(), &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "orders"}, Body: body, Caller: kernel.Caller{Principal: "alice"}})
}

// returning is a script that ends with a verdict and a reason in its output.
func returning(v abi.Verdict, arg uint32) *probe.Script {
	s := new(probe.Script).Do(probe.Set, int(abi.DocOutput), "/reason", int(abi.KindString), "because\x1b[2J\nFAKE")
	s.Result = abi.Pack(v, arg)
	return s
}

func TestVerdictsOfAHook(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{"test.echo"})
	for _, c := range []struct {
		verdict abi.Verdict
		code    kernel.Code
		reached int
	}{
		{abi.Deny, kernel.CodeDenied, 0}, {abi.Error, kernel.CodeFailed, 0}, {6, kernel.CodeABI, 0}, {1 << 31, kernel.CodeABI, 0},
	} {
		s.calls = nil
		_, err := s.through(t, m, returning(c.verdict, 0).Image())
		if kernel.CodeOf(err) != c.code || len(s.calls) != c.reached {
			t.Errorf("%s: reached %d times, %v", c.verdict, len(s.calls), err)
			continue
		}
		if text := err.Error(); strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%s: %q is not escaped", c.verdict, text)
		}
	}
	s.calls = nil
	reply, err := s.through(t, m, returning(abi.Skip, 0).Image())
	if err != nil || len(s.calls) != 0 || reply.Value.(map[string]any)["reason"] == nil {
		t.Errorf("skip: %+v, %v, reached %d times", reply, err, len(s.calls))
	}
}

// A hook that ends without a verdict has not agreed.
func TestAFailingHookFailsClosed(t *testing.T) {
	s := newSite(t)
	for name, want := range map[string]kernel.Code{
		"no-name": kernel.CodeTrap, "spin": kernel.CodeTimeout, "exit-0": kernel.CodeTrap, "exit-deadline": kernel.CodeTrap,
		"trap-start": kernel.CodeTrap, "trap-init": kernel.CodeTrap,
	} {
		m, err := s.load(t, hostile(t, name), nil, extension.Spec{Limits: sandbox.Limits{Deadline: 50 * time.Millisecond}})
		if err == nil {
			_, err = s.through(t, m, nil)
		}
		if kernel.CodeOf(err) != want || len(s.calls) > 0 {
			t.Errorf("%s: reached %d times, %v", name, len(s.calls), err)
		}
	}
}

// A module that replaces arguments acts with the caller's rights, not its own.
func TestAHookCannotWidenTheCallersRights(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{"test.echo"})
	hook, err := m.PortHook()
	if err != nil {
		t.Fatal(err)
	}
	door := s.door.With()
	door.Hook(ports.Registration{Name: "guest", Match: ports.MatchOps([]string{"test.*"}), Hook: hook})
	narrow := kernel.ModuleRights{Name: "narrow", Check: func(_ string, args map[string]string) error {
		if args["topic"] == "orders" {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeDenied, What: "only orders"}
	}}
	script := new(probe.Script).Do(probe.Set, 0, "/args/topic", int(abi.KindString), "payments")
	script.Result = uint64(abi.Replace)
	_, err = door.Call(inRun(), &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "orders"}, Body: script.Image(),
		Caller: kernel.Caller{Principal: "alice", Modules: []kernel.ModuleRights{narrow}}})
	if kernel.CodeOf(err) != kernel.CodeDenied || len(s.calls) > 0 {
		t.Errorf("reached %d times, %v", len(s.calls), err)
	}
}

// What a guest logs cannot fake another line, whoever writes the log down.
func TestLogLinesAreEscaped(t *testing.T) {
	s := newSite(t)
	m := s.probe(t, []any{"test.echo"}, []any{"test.echo"})
	play(t, m, new(probe.Script).Do(probe.Log, 3, "x\nlevel=ERROR msg=fake\x1b[2J\u202e\x00\xff"))
	if len(s.log.lines) != 1 || !strings.Contains(s.log.lines[0], "fake") || strings.ContainsFunc(s.log.lines[0], func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the log is %q", s.log.lines)
	}
}

// Arguments and results of a tool are held to its schemas, and schemas to themselves.
func TestToolsAreHeldToTheirSchemas(t *testing.T) {
	s := newSite(t)
	load := func(schema string) (*extension.Module, error) {
		return s.load(t, hostile(t, "deputy"), &abi.Manifest{Capabilities: capabilities(t, "test.echo"),
			Tools: []abi.Tool{{Name: "relay", InputSchema: []byte(schema)}}}, extension.Spec{Grants: capabilities(t, "test.echo")})
	}
	m, err := load(`{"type":"object","properties":{"topic":{"type":"string"}},"required":["topic"],"additionalProperties":false}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []any{nil, "x", map[string]any{}, map[string]any{"topic": kernel.Number(1)}, map[string]any{"topic": "a", "more": "b"}} {
		_, err := m.CallTool(inRun(), "relay", args, "", kernel.Caller{})
		says(t, err, kernel.CodeArguments, "schema")
	}
	if len(s.calls) > 0 {
		t.Errorf("reached %d times", len(s.calls))
	}
	_, err = m.CallTool(inRun(), "rely", nil, "", kernel.Caller{})
	says(t, err, kernel.CodeModuleExport, "did you mean relay?")
	_, err = m.CallTool(inRun(), "other\x1b", nil, "", kernel.Caller{})
	says(t, err, kernel.CodeModuleExport, `other\x1b`, "relay")
	for _, schema := range []string{`{"$ref":"file:///etc/passwd"}`, `{"$ref":"https://example.com/s.json"}`, `{"type":"nothing"}`, `{"$schema":"http://127.0.0.1/meta"}`} {
		if _, err := load(schema); kernel.CodeOf(err) != kernel.CodeModuleInvalid {
			t.Errorf("the schema %s: %v", schema, err)
		}
	}
}
