package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adaToken  = "ada-0123456789abcdef"
	bobToken  = "bob-0123456789abcdef"
	evilToken = "eve-0123456789abcdef"
)

// site is a server under test with two tenants, acme and globex.
type site struct {
	*httptest.Server
	api   *httpapi.Server
	hosts map[string]*host.Host
}

const echo = `kind: Pipeline
metadata: {name: echo, description: Says it again.}
spec:
  nodes:
    - {kind: data_node, metadata: {name: out}, spec: {output: {said: "{{ text }}"}}}
`

const waits = `kind: Pipeline
metadata: {name: waits}
spec:
  nodes:
    - {kind: service_call_node, metadata: {name: before}, spec: {service: fake, method: enter}}
    - {kind: data_node, metadata: {name: out}, dependencies: [before], spec: {output: {ok: true}}}
`

const pauses = `kind: Pipeline
metadata: {name: pauses}
spec:
  nodes:
    - {kind: wait_node, metadata: {name: hold}, spec: {event_key: "go-{{ id }}"}}
    - {kind: data_node, metadata: {name: out}, dependencies: [hold], spec: {output: {ok: true}}}
`

type options struct {
	config string // of every tenant, below spec
	api    httpapi.Options
	ports  []host.PortOp
	tracer host.TracerProvider
	shares driver.Store // the journals, which have every run
}

func open(t *testing.T, o options) *site {
	t.Helper()
	s := &site{hosts: map[string]*host.Host{}}
	tenants := map[string]*httpapi.Tenant{}
	for _, name := range []string{"acme", "globex"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "hexdag.yaml"), "kind: Config\nmetadata: {name: test}\nspec:\n  tenant: "+name+"\n"+o.config)
		cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := host.New(t.Context(), cfg, host.Options{KeyFile: filepath.Join(dir, "audit.key"), Ports: o.ports, TracerProvider: o.tracer, Journal: o.shares, Durable: o.shares != nil})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.Close(t.Context()) })
		of := &httpapi.Tenant{Host: h}
		for name, text := range map[string]string{"echo": echo, "waits": waits, "pauses": pauses} {
			if name == "waits" && o.ports == nil {
				continue
			}
			file := filepath.Join(dir, name+".yaml")
			write(t, file, text)
			p, err := h.Load(t.Context(), file, host.LoadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Close(t.Context()) })
			of.Pipelines = append(of.Pipelines, p)
		}
		tenants[name], s.hosts[name] = of, h
	}
	if o.api.Authenticators == nil {
		o.api.Authenticators = []httpapi.Authenticator{httpapi.Tokens{
			httpapi.TokenDigest(adaToken):  {Tenant: "acme", Principal: "ada"},
			httpapi.TokenDigest(bobToken):  {Tenant: "acme", Principal: "bob"},
			httpapi.TokenDigest(evilToken): {Tenant: "globex", Principal: "eve"},
		}}
	}
	s.api = httpapi.New(tenants, o.api)
	s.Server = httptest.NewServer(s.api.Handler())
	t.Cleanup(func() { s.api.Close(); s.Close() })
	return s
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// answered is a response that was read.
type answered struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (s *site) ask(t *testing.T, token, method, path, body string, headers ...string) *answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return s.do(t, req)
}

func (s *site) do(t *testing.T, req *http.Request) *answered {
	t.Helper()
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := &answered{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if bytes.HasPrefix(text, []byte("{")) {
		if err := json.Unmarshal(text, &a.body); err != nil {
			t.Fatal(err, a.text)
		}
	}
	return a
}

// problem checks that an answer is one.
func (a *answered) problem(t *testing.T, status int, code string, words ...string) {
	t.Helper()
	if a.status != status || a.body["code"] != code || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s, not %d %s: %s", a.status, a.body["code"], status, code, a.text)
	}
	for _, w := range words {
		if !strings.Contains(a.text, w) {
			t.Errorf("%q is not in %s", w, a.text)
		}
	}
}

func (a *answered) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.text), v); err != nil {
		t.Fatal(err, a.text)
	}
}
