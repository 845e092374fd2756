package httpapi_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/server/httpapi"
)

func TestIdentities(t *testing.T) {
	s := open(t, options{})
	for name, headers := range map[string][]string{
		"none": nil, "unknown": {"Authorization", "Bearer nope"}, "another scheme": {"Authorization", "Basic YTpi"}, "empty": {"Authorization", "Bearer "}, "huge": {"Authorization", "Bearer " + strings.Repeat("a", 20<<10)},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.ask(t, "", "GET", "/v1/runs", "", headers...)
			a.problem(t, 401, "denied", "it is not known who calls")
			if a.header.Get("WWW-Authenticate") == "" {
				t.Error(a.header)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "tokens.yaml")
	for text, want := range map[string]string{
		"tokens: [{sha256: abc, tenant: a, principal: b}]":                                 "tokens[0].sha256 is no SHA-256 in hex",
		"tokens: [{sha256: '" + httpapi.TokenDigest("x") + "', tenant: a}]":                "names no tenant, or no principal",
		"tokens: [{sha256: '" + httpapi.TokenDigest("x") + "', tenants: a, principal: b}]": "unknown field",
		"tokens: {}": "",
	} {
		write(t, file, text)
		_, err := httpapi.LoadTokens(file)
		if want == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	write(t, file, "tokens:\n  - {sha256: '"+httpapi.TokenDigest("old")+"', tenant: acme, principal: ada, expires: 2020-01-01T00:00:00Z}\n  - {sha256: '"+httpapi.TokenDigest("new")+"', tenant: acme, principal: ada, expires: 2999-01-01T00:00:00Z}\n")
	tokens, err := httpapi.LoadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Authenticate(t.Context(), "old"); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Error(err)
	}
	if who, err := tokens.Authenticate(t.Context(), "new"); err != nil || who.Principal != "ada" || who.Tenant != "acme" {
		t.Error(who, err)
	}
}

func TestLimits(t *testing.T) {
	t.Run("a large request", func(t *testing.T) {
		s := open(t, options{api: httpapi.Options{MaxBody: 1000}})
		s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs", `{"input": "`+strings.Repeat("a", 2000)+`"}`).problem(t, 413, "limit", "1000 bytes")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/pipelines/echo/runs", io.MultiReader(strings.NewReader(`{"input": "`), strings.NewReader(strings.Repeat("a", 2000)), strings.NewReader(`"}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adaToken)
		req.Header.Set("Content-Type", "application/json")
		resp, err := s.Client().Do(req) // of a size that it does not say
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Error(resp.Status)
		}
	})
	t.Run("a flood", func(t *testing.T) {
		s := open(t, options{api: httpapi.Options{PerSecond: 5}})
		refused := 0
		for range 30 {
			if a := s.ask(t, adaToken, "GET", "/v1/pipelines", ""); a.status == 429 {
				refused++
				a.problem(t, 429, "limit", "a principal may send 5 a second")
			}
		}
		if refused < 15 {
			t.Errorf("%d were refused", refused)
		}
		if a := s.ask(t, bobToken, "GET", "/v1/pipelines", ""); a.status != 200 {
			t.Error("another principal:", a.text)
		}
	})
	t.Run("many runs", func(t *testing.T) {
		g := newGate()
		s := open(t, options{ports: g.ports(), api: httpapi.Options{MaxRunning: 2}})
		for range 2 {
			s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
			<-g.entered
		}
		s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`).problem(t, 429, "limit", "the limit is 2")
		if a := s.ask(t, evilToken, "POST", "/v1/pipelines/echo/runs?wait=10", `{"input": {"text": "a"}}`); a.body["status"] != "completed" {
			t.Error("another tenant:", a.text)
		}
		close(g.open)
	})
	t.Run("many streams, and a client that goes", func(t *testing.T) {
		g := newGate()
		s := open(t, options{ports: g.ports(), api: httpapi.Options{MaxStreams: 1}})
		a := s.ask(t, adaToken, "POST", "/v1/pipelines/waits/runs", `{}`)
		<-g.entered
		id, _ := a.body["run_id"].(string)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/runs/"+id+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+adaToken)
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		s.ask(t, adaToken, "GET", "/v1/runs/"+id+"/events", "").problem(t, 429, "limit", "too many clients")
		resp.Body.Close()
		for deadline := time.Now().Add(10 * time.Second); s.ask(t, adaToken, "GET", "/metrics", "").text == "" || !strings.Contains(s.ask(t, adaToken, "GET", "/metrics", "").text, "hexdag_streams_active 0"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the stream of a client that is gone goes on")
			}
		}
		close(g.open)
	})
}

var update = flag.Bool("update", false, "write openapi.json anew")

// TestOpenAPI: the description that is checked in is the one that is served.
func TestOpenAPI(t *testing.T) {
	served, err := open(t, options{}).api.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, served, "", "  "); err != nil {
		t.Fatal(err)
	}
	b.WriteByte('\n')
	if *update {
		write(t, "openapi.json", b.String())
	}
	text, err := os.ReadFile("openapi.json")
	if err != nil || string(text) != b.String() {
		t.Error("openapi.json is not what is served: go test ./host/server/httpapi -run TestOpenAPI -update", err)
	}
}

// TestDescription: the description of the API names each path, and needs nobody to be known.
func TestDescription(t *testing.T) {
	s := open(t, options{})
	a := s.ask(t, "", "GET", "/openapi.json", "")
	paths, _ := a.body["paths"].(map[string]any)
	for _, path := range []string{"/v1/runs", "/v1/runs/{run_id}", "/v1/runs/{run_id}/events", "/v1/runs/{run_id}/cancel", "/v1/runs/{run_id}/signal", "/v1/pipelines", "/v1/pipelines/{pipeline}/runs", "/v1/approvals", "/v1/approvals/{id}/answer", "/v1/modules"} {
		if paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	if a := s.ask(t, adaToken, "GET", "/v1/pipelines", ""); !strings.Contains(a.text, "Says it again.") {
		t.Error(a.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/modules", ""); a.status != 200 || strings.TrimSpace(a.text) != `{"modules":[]}` {
		t.Error(a.text)
	}
}
