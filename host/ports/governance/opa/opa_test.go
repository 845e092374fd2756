package opa_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance"
	"github.com/hexdag/hexdag/host/ports/governance/governancetest"
	"github.com/hexdag/hexdag/host/ports/governance/opa"
	"github.com/hexdag/hexdag/host/ports/governance/remote"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program builds OPA's own command, once, from the module that this one requires: in
// its folder, where its go.sum covers what the command needs beside the library.
var program = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", "github.com/open-policy-agent/opa")
	out, err := list.Output()
	if err != nil {
		return "", err
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	file := filepath.Join(cache, "hexdag-test", "opa-"+version)
	build := exec.Command("go", "build", "-mod=readonly", "-trimpath", "-o", file, ".")
	build.Dir, build.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return "", errors.New(string(text))
	}
	return file, nil
})

// serve runs opa run --server on loopback with a policy, and returns its URL.
func serve(t testing.TB, policy string) string {
	t.Helper()
	file, err := program()
	if err != nil {
		t.Fatalf("OPA's command cannot be built: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.rego"), []byte("package hexdag.authz\n"+policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "auth.rego"), []byte("package system.authz\ndefault allow := false\nallow if input.identity == \"secret\"\nallow if input.path == [\"health\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, file, "run", "--server", "--addr", address, "--authentication=token", "--authorization=basic", "--disable-telemetry", "--log-level=error", dir)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
	})
	for range 600 {
		resp, err := http.Get("http://" + address + "/health")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return "http://" + address
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	cancel()
	_ = cmd.Wait()
	t.Fatalf("the server did not start: %s", output.String())
	return ""
}

func connect(t testing.TB, c opa.Config) *opa.Driver {
	t.Helper()
	d, err := opa.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func config(url string) opa.Config {
	return opa.Config{Config: remote.Config{URL: url, TokenEnv: "OPA_TEST_TOKEN", Timeout: "20s"}}
}

func ask(action string) *kernel.AccessRequest {
	return &kernel.AccessRequest{Subject: kernel.Subject{Type: "user", ID: "ada", Tenant: "acme"}, Action: kernel.Act{Name: action, Args: map[string]any{"n": kernel.Number(5)}}, Resource: kernel.Resource{Type: "t", ID: "x"}}
}

const policy = `
decision := {"effect": "allow", "reasons": [{"id": "p.allow", "msg": "yes"}], "obligations": [{"type": "limit", "calls": 3}], "ttl_s": 60} if input.action == {"name": "a.allow", "args": {"n": 5}}
decision := {"effect": "deny", "reasons": {{"id": "p.deny", "msg": "no"}}} if input.action.name == "a.deny"
decision := {"effect": "maybe"} if input.action.name == "a.effect"
decision := {"Effect": "allow"} if input.action.name == "a.case"
decision := true if input.action.name == "a.true"
decision := {"effect": "allow"} if input.action.name == "a.conflict"
decision := {"effect": "deny"} if input.action.name == "a.conflict"
other := {"effect": "approve"}
`

// TestServer holds the driver to the real thing.
func TestServer(t *testing.T) {
	if testing.Short() {
		t.Skip("OPA's command is built, which takes minutes the first time")
	}
	t.Setenv("OPA_TEST_TOKEN", "secret")
	url := serve(t, policy)
	d := connect(t, config(url))
	t.Run("Conformance", func(t *testing.T) {
		governancetest.RunConformanceTests(t, func(*testing.T) governancetest.Harness {
			return governancetest.Harness{Driver: d, Allowed: ask("a.allow"), Denied: ask("a.deny")}
		})
	})
	port := governance.New(d, governance.Options{Timeout: 20 * time.Second})
	for action, want := range map[string]struct {
		effect kernel.Effect
		reason string
		says   string
	}{
		"a.allow":    {kernel.Allow, "p.allow", "yes"},
		"a.deny":     {kernel.Forbid, "p.deny", "no"},
		"a.unknown":  {kernel.Forbid, governance.ReasonUndefined, "no rule"},
		"a.effect":   {kernel.Forbid, governance.ReasonEffect, "maybe"},
		"a.case":     {kernel.Forbid, governance.ReasonError, "no member Effect"},
		"a.true":     {kernel.Forbid, governance.ReasonError, "no object"},
		"a.conflict": {kernel.Forbid, governance.ReasonError, "status 500"},
	} {
		got, err := port.Authorize(t.Context(), ask(action))
		if err != nil || got.Effect != want.effect || got.Reasons[0].ID != want.reason || !strings.Contains(got.Reasons[0].Msg, want.says) {
			t.Errorf("%s: %+v, want %s by %s, %q", action, got, want.effect, want.reason, want.says)
		}
	}
	other := config(url)
	other.Decision = "hexdag/authz/other"
	if got, _ := governance.New(connect(t, other), governance.Options{}).Authorize(t.Context(), ask("x.y")); got.Effect != kernel.Approve {
		t.Errorf("another rule: %+v", got)
	}
	t.Setenv("OPA_TEST_TOKEN", "wrong")
	if got, _ := governance.New(connect(t, config(url)), governance.Options{}).Authorize(t.Context(), ask("a.allow")); got.Effect != kernel.Forbid || !strings.Contains(got.Reasons[0].Msg, "status 401") {
		t.Errorf("with a wrong token: %+v", got)
	}
}

// What a server can answer beside decisions denies.
func TestBadAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"result": {"effect": "allow"}}`))
	}))
	defer elsewhere.Close()
	stop := make(chan struct{})
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter)
		reason string
		says   string
	}{
		"status": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }, governance.ReasonError, "status 202"},
		"redirect": {func(w http.ResponseWriter) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, governance.ReasonError, "status 307"},
		"another type": {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"result": {"effect": "allow"}}`)) }, governance.ReasonError, "not application/json"},
		"twice":        {jsonAnswer(`{"result": {"effect": "deny"}, "result": {"effect": "allow"}}`), governance.ReasonError, "twice"},
		"cut":          {jsonAnswer(`{"result": {"effect": "allow"}`), governance.ReasonError, "answer"},
		"an array":     {jsonAnswer(`[]`), governance.ReasonError, "no object"},
		"undefined":    {jsonAnswer(`{}`), governance.ReasonUndefined, ""},
		"null":         {jsonAnswer(`{"result": null}`), governance.ReasonError, "no object"},
		"endless":      {jsonAnswer(`{"result": {"effect": "allow", "reasons": [{"id": "` + strings.Repeat("x", 2<<20) + `", "msg": ""}]}}`), governance.ReasonError, "larger than"},
		"never":        {func(http.ResponseWriter) { <-stop }, governance.ReasonTimeout, "did not answer in 200ms"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { tc.answer(w) }))
		d, err := opa.New(opa.Config{Config: remote.Config{URL: server.URL, Timeout: "200ms"}})
		if err != nil {
			t.Fatal(err)
		}
		if name != "never" {
			d = connect(t, opa.Config{Config: remote.Config{URL: server.URL, Timeout: "10s"}})
		}
		got, _ := governance.New(d, governance.Options{Timeout: 20 * time.Second}).Authorize(t.Context(), ask("a.b"))
		if got.Effect != kernel.Forbid || got.Reasons[0].ID != tc.reason || !strings.Contains(got.Reasons[0].Msg, tc.says) {
			t.Errorf("%s: %.300v, want %s, %q", name, got, tc.reason, tc.says)
		}
		if name == "never" {
			close(stop)
		}
		_ = d.Close()
		server.Close()
	}
	d := connect(t, opa.Config{Config: remote.Config{URL: "http://127.0.0.1:1"}})
	if got, _ := governance.New(d, governance.Options{}).Authorize(t.Context(), ask("a.b")); got.Effect != kernel.Forbid || !strings.Contains(got.Reasons[0].Msg, "cannot be reached") {
		t.Errorf("nobody listens: %+v", got)
	}
}

func jsonAnswer(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = w.Write([]byte(text))
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		config opa.Config
		says   string
	}{
		{opa.Config{}, "http(s)://host"},
		{opa.Config{Config: remote.Config{URL: "file:///etc"}}, "http(s)://host"},
		{opa.Config{Config: remote.Config{URL: "http://u:p@h"}}, "token_env"},
		{opa.Config{Config: remote.Config{URL: "http://h?x=1"}}, "http(s)://host"},
		{opa.Config{Config: remote.Config{URL: "http://h", Timeout: "soon"}}, "no time"},
		{opa.Config{Config: remote.Config{URL: "http://h", Timeout: "2h"}}, "no time"},
		{opa.Config{Config: remote.Config{URL: "http://h", TokenEnv: "NO_SUCH_VARIABLE"}}, "NO_SUCH_VARIABLE is not set"},
		{opa.Config{Config: remote.Config{URL: "http://h"}, Decision: "a/../b"}, "no rule's path"},
		{opa.Config{Config: remote.Config{URL: "http://h"}, Decision: "/a"}, "no rule's path"},
	} {
		if _, err := opa.New(tc.config); kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v, want %q", tc.config, err, tc.says)
		}
	}
}
