package extension_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
	"github.com/hexdag/hexdag/host/toolchain"
)

// player returns the conformance kit's probe in C without its manifest: as a port it
// does the steps in its arguments.
func player(t testing.TB) []byte {
	t.Helper()
	testenv.NeedClang(t)
	out := filepath.Join(t.TempDir(), "probe.wasm")
	if err := toolchain.Build(t.Context(), "../../guests/sdk/c/probe", out, io.Discard); err != nil {
		t.Fatal(err)
	}
	wasm, err := os.ReadFile(out)
	if err == nil {
		wasm, err = abi.RemoveCustomSections(wasm, func(name string) bool { return name == abi.ManifestSection })
	}
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

// port loads the player as a port with one operation, which requests and is granted what is listed.
func (s *site) port(t testing.TB, op abi.Operation, requests []any, spec extension.Spec) *extension.Module {
	t.Helper()
	requests = append(requests, abi.OpClock, abi.OpRandom)
	if spec.Grants == nil {
		spec.Grants = capabilities(t, requests...)
	}
	if len(requests) == 2 {
		requests = append(requests, "test.echo") // it imports call
		spec.Grants = capabilities(t, requests...)
	}
	m, err := s.load(t, player(t), &abi.Manifest{Operations: []abi.Operation{op}, Capabilities: capabilities(t, requests...)}, spec)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// steps are arguments that have the player do steps, given as JSON.
func steps(t testing.TB, text string) map[string]any {
	t.Helper()
	v, err := kernel.DecodeJSON([]byte(`{"steps": [` + text + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return v.(map[string]any)
}

func serve(t *testing.T, m *extension.Module, text string, body []byte, modules ...kernel.ModuleRights) (*kernel.PortReply, error) {
	t.Helper()
	return m.Serve(inRun(), &kernel.PortCall{Op: "play.steps", Args: steps(t, text), Body: body, Node: "n", Caller: kernel.Caller{Principal: "alice", Modules: modules}})
}

func TestServe(t *testing.T) {
	m := newSite(t).port(t, abi.Operation{Name: "play.steps"}, nil, extension.Spec{})
	reply, err := serve(t, m, `{"do": "set", "doc": "output", "at": "/n", "kind": "number", "value": "1.50"}, {"do": "copybody", "doc": "input"}`, []byte("a\xff"))
	if text, _ := kernel.EncodeJSON(reply.Value); err != nil || string(text) != `{"n":1.50}` || !bytes.Equal(reply.Body, []byte("a\xff")) {
		t.Errorf("%s %q, %v", text, reply.Body, err)
	}
	if reply, err = serve(t, m, ``, nil); err != nil || reply.Value != nil || len(reply.Body) != 0 {
		t.Errorf("nothing is %v, %v", reply, err)
	}
	for text, want := range map[string]struct {
		code kernel.Code
		says string
	}{
		`{"do": "fail", "code": "not_found", "reason": "no \u001b city"}`:                                  {kernel.CodeNotFound, `module guest failed in play.steps: no \x1b city`},
		`{"do": "fail", "code": "port.not_found", "reason": "r"}`:                                          {kernel.CodeNotFound, "r"},
		`{"do": "fail", "code": "invalid", "reason": "r"}`:                                                 {kernel.CodeArguments, "r"},
		`{"do": "fail", "code": "port.arguments", "reason": "r"}`:                                          {kernel.CodeArguments, "r"},
		`{"do": "fail", "code": "limit", "reason": "r"}`:                                                   {kernel.CodeLimit, "r"},
		`{"do": "fail", "code": "unsupported", "reason": "r"}`:                                             {kernel.CodeUnsupported, "r"},
		`{"do": "fail", "code": "port.unsupported", "reason": "r"}`:                                        {kernel.CodeUnsupported, "r"},
		`{"do": "fail", "code": "unavailable", "reason": "r"}`:                                             {kernel.CodeUnavailable, "r"},
		`{"do": "fail", "code": "port.unavailable", "reason": "r"}`:                                        {kernel.CodeUnavailable, "r"},
		`{"do": "fail", "code": "timeout", "reason": "r"}`:                                                 {kernel.CodeTimeout, "r"},
		`{"do": "fail", "code": "retry", "reason": "r"}`:                                                   {kernel.CodeRetry, "r"},
		`{"do": "fail", "code": "failed", "reason": "r"}`:                                                  {kernel.CodeFailed, "failed in play.steps: r"},
		`{"do": "fail", "code": "no_\u0007stock", "reason": "r"}`:                                          {kernel.CodeFailed, `r [no_\astock]`},
		`{"do": "fail", "code": "denied", "reason": "r"}`:                                                  {kernel.CodeFailed, "r [denied]"}, // no decision about the caller
		`{"do": "fail", "code": "approval.needed", "reason": "r"}`:                                         {kernel.CodeFailed, "r [approval.needed]"},
		`{"do": "deny", "code": "c", "reason": "closed"}`:                                                  {kernel.CodeDenied, "module guest refused port_call: closed"},
		`{"do": "retry", "ms": 1500}`:                                                                      {kernel.CodeRetry, "asks to try again"},
		`{"do": "set", "doc": "input", "at": "/args", "kind": "null", "value": "null"}, {"do": "replace"}`: {kernel.CodeABI, "unknown verdict from port_call"},
		`{"do": "skip"}`: {kernel.CodeABI, "unknown verdict from port_call"},
	} {
		reply, err := serve(t, m, text, nil)
		if kernel.CodeOf(err) != want.code || reply != nil || !strings.Contains(err.Error(), want.says) || !strings.Contains(err.Error(), "node n") || !strings.Contains(err.Error(), "guest@") {
			t.Errorf("%s: %v, %v", text, reply, err)
		}
		var e *kernel.Error
		if errors.As(err, &e); want.code == kernel.CodeRetry && strings.Contains(text, "1500") && e.RetryAfter != 1500*time.Millisecond {
			t.Errorf("%s: %v", text, e.RetryAfter)
		}
	}
	if _, err := m.Serve(inRun(), &kernel.PortCall{Op: "play.other"}); kernel.CodeOf(err) != kernel.CodeUnsupported || !strings.Contains(err.Error(), "describes no such operation") {
		t.Error(err)
	}
}

// TestServeWithinLimits: what stops a guest stops the call, and the next one is served.
func TestServeWithinLimits(t *testing.T) {
	m := newSite(t).port(t, abi.Operation{Name: "play.steps"}, nil, extension.Spec{Limits: sandbox.Limits{Fuel: 50_000}})
	many := strings.TrimSuffix(strings.Repeat(`{"do": "count", "doc": "input", "at": "/args"}, `, 1000), ", ")
	if _, err := serve(t, m, many, nil); kernel.CodeOf(err) != kernel.CodeLimit || !strings.Contains(err.Error(), "fuel") {
		t.Error(err, m.Stats())
	}
	if _, err := serve(t, m, `{"do": "remember"}`, nil); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(inRun())
	cancel()
	if _, err := m.Serve(ctx, &kernel.PortCall{Op: "play.steps"}); kernel.CodeOf(err) != kernel.CodeCanceled {
		t.Error(err)
	}
}

// TestServeHoldsToSchemas: arguments before the module sees them, the reply before the caller does.
func TestServeHoldsToSchemas(t *testing.T) {
	op := abi.Operation{Name: "play.steps", InputSchema: []byte(`{"type": "object", "properties": {"steps": {"type": "array", "maxItems": 1}}}`), OutputSchema: []byte(`{"type": "object"}`)}
	m := newSite(t).port(t, op, nil, extension.Spec{})
	object, text := `{"do": "set", "doc": "output", "at": "/a", "kind": "null", "value": "null"}`, `{"do": "set", "doc": "output", "at": "", "kind": "string", "value": "x"}`
	if _, err := serve(t, m, object, nil); err != nil {
		t.Error(err)
	}
	if _, err := serve(t, m, object+", "+object, nil); kernel.CodeOf(err) != kernel.CodeArguments || m.Stats().Calls != 1 {
		t.Errorf("%v after %d calls", err, m.Stats().Calls)
	}
	if _, err := serve(t, m, text, nil); kernel.CodeOf(err) != kernel.CodeABI || !strings.Contains(err.Error(), "the reply of play.steps do not fit") {
		t.Error(err)
	}
	s := newSite(t)
	if _, err := s.load(t, player(t), &abi.Manifest{Operations: []abi.Operation{{Name: "play.steps", InputSchema: []byte(`{"type": 7}`)}}, Capabilities: capabilities(t, abi.OpClock, abi.OpRandom, "test.echo")},
		extension.Spec{Grants: capabilities(t, abi.OpClock, abi.OpRandom, "test.echo")}); kernel.CodeOf(err) != kernel.CodeModuleInvalid || !strings.Contains(err.Error(), "operation play.steps") {
		t.Error(err)
	}
}

// TestServeOnBehalf: what a port calls, it calls for whoever called it.
func TestServeOnBehalf(t *testing.T) {
	s := newSite(t)
	m := s.port(t, abi.Operation{Name: "play.steps"}, []any{topic("orders.*")}, extension.Spec{})
	call := func(topic string) string {
		return `{"do": "call", "op": "test.echo", "args": [["/topic", "string", "` + topic + `"]], "short": true}, {"do": "get", "doc": "reply", "at": "/topic"}`
	}
	rights := func(pattern string) kernel.ModuleRights {
		c := capabilities(t, topic(pattern))[0]
		return kernel.ModuleRights{Name: "caller", Check: func(op string, args map[string]string) error {
			if !c.Allows(op, args) {
				return &kernel.Error{Code: kernel.CodeDenied, What: "caller may not"}
			}
			return nil
		}}
	}
	for _, tc := range []struct {
		topic   string
		modules []kernel.ModuleRights
		done    bool
	}{
		{"orders.new", nil, true},
		{"prices.new", nil, false}, // not granted
		{"orders.new", []kernel.ModuleRights{rights("**")}, true},
		{"orders.new", []kernel.ModuleRights{rights("prices.*")}, false}, // the caller has no such right
		{"prices.new", []kernel.ModuleRights{rights("**")}, false},       // and cannot lend its own
	} {
		before := len(s.calls)
		if _, err := serve(t, m, call(tc.topic), nil, tc.modules...); err != nil {
			t.Fatal(err)
		}
		if done := len(s.calls) > before; done != tc.done {
			t.Errorf("%s for %d modules: done is %v", tc.topic, len(tc.modules), done)
		}
	}
	if _, err := serve(t, m, call("orders.new"), nil, rights("**")); err != nil {
		t.Fatal(err)
	}
	last := s.calls[len(s.calls)-1]
	if got := strings.Join(last.Caller.Chain(), " "); got != "alice module:caller module:guest" || last.Node != "n" {
		t.Errorf("on behalf of %s at %s", got, last.Node)
	}
	reply, err := serve(t, m, `{"do": "log", "level": 1, "text": "x"}, {"do": "get", "doc": "input", "at": "/chain"}, {"do": "get", "doc": "input", "at": "/run/tenant"}`, nil, rights("**"))
	if err != nil || reply == nil {
		t.Fatal(err)
	}
	for _, want := range []string{`array ["alice","module:caller"]`, "string alice-inc"} {
		if all := strings.Join(s.log.lines, "\n"); !strings.Contains(all, want) {
			t.Errorf("the module saw no %s: %s", want, all)
		}
	}
}

// TestServeWithoutEnd: a port that calls itself comes to an end.
func TestServeWithoutEnd(t *testing.T) {
	s := newSite(t)
	m := s.port(t, abi.Operation{Name: "play.steps"}, []any{"test.echo"}, extension.Spec{})
	depth := 0
	s.again = func(ctx context.Context) (*kernel.PortReply, error) {
		depth++
		return m.Serve(ctx, &kernel.PortCall{Op: "play.steps", Args: steps(t, `{"do": "call", "op": "test.echo", "args": []}`)})
	}
	if _, err := serve(t, m, `{"do": "call", "op": "test.echo", "args": []}`, nil); err != nil {
		t.Fatal(err)
	}
	if depth != 8 || !strings.Contains(strings.Join(s.log.lines, "\n"), "guests call guests too deeply") {
		t.Errorf("%d deep: %q", depth, s.log.lines)
	}
}

func TestReloadKeepsOperations(t *testing.T) {
	s := newSite(t)
	wasm := player(t)
	manifest := func(ops ...abi.Operation) []byte {
		all, err := abi.EmbedManifest(wasm, &abi.Manifest{Name: "guest", Version: "1.0.0", Operations: ops, Capabilities: capabilities(t, abi.OpClock, abi.OpRandom, "test.echo")})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	path := filepath.Join(t.TempDir(), "guest.wasm")
	write := func(wasm []byte) {
		if err := os.WriteFile(path, wasm, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(manifest(abi.Operation{Name: "a.b", Guards: []string{"x"}}))
	m, err := extension.Load(t.Context(), s.runtime, s.door, slog.New(s.log), extension.Spec{Name: "guest", Path: path, Grants: capabilities(t, abi.OpClock, abi.OpRandom, "test.echo")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	for says, next := range map[string][]byte{
		"describes no operation a.b":       manifest(abi.Operation{Name: "a.c"}),
		"gives operation a.b other guards": manifest(abi.Operation{Name: "a.b"}),
	} {
		write(next)
		if _, err := m.Reload(t.Context(), func(string) error { return nil }); kernel.CodeOf(err) != kernel.CodeModuleExport || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", says, err)
		}
	}
	write(manifest(abi.Operation{Name: "a.b", Guards: []string{"x"}}, abi.Operation{Name: "a.c"}))
	if changed, err := m.Reload(t.Context(), func(string) error { return nil }); !changed || err != nil || len(m.Operations()) != 2 || m.Operations()[1].Name != "a.c" {
		t.Errorf("%v, %v, %v", changed, err, m.Operations())
	}
}

// BenchmarkPort is one call through the door of an operation in Go, and of the same that a
// module in C does, with nothing left for the next call and with its instance shared.
func BenchmarkPort(b *testing.B) {
	s := newSite(b)
	spec := func(i sandbox.Isolation) extension.Spec { return extension.Spec{Name: "p" + string(i), Isolation: i} }
	args := steps(b, `{"do": "set", "doc": "output", "at": "/sky", "kind": "string", "value": "blue"}`)
	for name, do := range map[string]kernel.PortFunc{
		"go": func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
			return &kernel.PortReply{Value: map[string]any{"sky": "blue"}}, nil
		},
		"module":        s.port(b, abi.Operation{Name: "play.steps"}, nil, spec(sandbox.IsolateCall)).Serve,
		"module/shared": s.port(b, abi.Operation{Name: "play.steps"}, nil, spec(sandbox.Shared)).Serve,
	} {
		door := ports.NewDoor(s, discarding{})
		if err := door.Register(ports.Op{Name: "play.steps", Func: do}); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			ctx := inRun()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := door.Call(ctx, &kernel.PortCall{Op: "play.steps", Args: args, Caller: kernel.Caller{Principal: "alice"}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type discarding struct{}

func (discarding) Audit(context.Context, *kernel.AuditRecord) error { return nil }
