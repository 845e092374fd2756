package httpapi_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server/httpapi"
)

// send is ask for a body that is no JSON.
func (s *site) send(t *testing.T, token, method, path string, body io.Reader, headers ...string) *answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return s.do(t, req)
}

func TestArtifacts(t *testing.T) {
	s := open(t, options{})
	content := strings.Repeat("0123456789", 30_000) // several pieces
	a := s.send(t, adaToken, "POST", "/v1/artifacts?name=reports/may.html", strings.NewReader(content), "Content-Type", "text/html", "X-Integrity", "untrusted")
	id, _ := a.body["id"].(string)
	if a.status != 201 || a.header.Get("Location") != "/v1/artifacts/"+id || fmt.Sprint(a.body["size"]) != "300000" || !strings.Contains(a.text, "untrusted") {
		t.Fatal(a.status, a.text)
	}
	if a := s.ask(t, bobToken, "GET", "/v1/artifacts/"+id, ""); a.status != 200 || a.body["name"] != "reports/may.html" || a.body["node"] != "http:ada" {
		t.Error(a.status, a.text)
	}
	got := s.ask(t, bobToken, "GET", "/v1/artifacts/"+id+"/content", "")
	if got.status != 200 || got.text != content || got.header.Get("Content-Type") != "text/html" || got.header.Get("X-Content-Type-Options") != "nosniff" ||
		got.header.Get("Content-Disposition") != "attachment; filename=may.html" || got.header.Get("Content-Security-Policy") == "" {
		t.Error(got.status, len(got.text), got.header)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts?limit=1", ""); a.status != 200 || !strings.Contains(a.text, id) || a.body["next"] != id {
		t.Error(a.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts?after="+id, ""); strings.Contains(a.text, id) {
		t.Error(a.text)
	}
	s.ask(t, adaToken, "GET", "/v1/artifacts/nope", "").problem(t, 422, "port.arguments")
	none := "sha256:" + strings.Repeat("0", 64)
	s.ask(t, adaToken, "GET", "/v1/artifacts/"+none, "").problem(t, 404, "port.not_found", "there is no artifact")
	s.send(t, adaToken, "POST", "/v1/artifacts?name=x&run_id=nope", strings.NewReader("x")).problem(t, 404, "port.not_found", "there is no run nope")
	s.send(t, adaToken, "POST", "/v1/artifacts?name=../x", strings.NewReader("x")).problem(t, 422, "port.arguments")
	s.send(t, adaToken, "POST", "/v1/artifacts?name=x&parents="+none, strings.NewReader("x")).problem(t, 404, "port.not_found")
	if a := s.ask(t, adaToken, "DELETE", "/v1/artifacts/"+id, ""); a.status != 204 {
		t.Error(a.status, a.text)
	}
	s.ask(t, adaToken, "DELETE", "/v1/artifacts/"+id, "").problem(t, 404, "port.not_found")
}

// TestArtifactOfRun: what is stored for a run is found by it.
func TestArtifactOfRun(t *testing.T) {
	s := open(t, options{})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs?wait=30", `{"input": {"text": "a"}}`)
	run, _ := a.body["run_id"].(string)
	stored := s.send(t, adaToken, "POST", "/v1/artifacts?name=note.txt&run_id="+run, strings.NewReader("x"), "Content-Type", "text/plain")
	if stored.status != 201 || stored.body["run_id"] != run {
		t.Fatal(stored.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts?run_id="+run, ""); !strings.Contains(a.text, "note.txt") {
		t.Error(a.text)
	}
	s.send(t, evilToken, "POST", "/v1/artifacts?name=note.txt&run_id="+run, strings.NewReader("x")).problem(t, 404, "port.not_found")
}

func TestLargeArtifact(t *testing.T) {
	s := open(t, options{api: httpapi.Options{MaxBody: 1000, MaxUpload: 100_000}})
	if a := s.send(t, adaToken, "POST", "/v1/artifacts?name=x", bytes.NewReader(make([]byte, 100_000))); a.status != 201 {
		t.Error("as large as may be:", a.status, a.text)
	}
	s.send(t, adaToken, "POST", "/v1/artifacts?name=x", bytes.NewReader(make([]byte, 100_001))).problem(t, 413, "limit", "100000 bytes")
	s.send(t, adaToken, "POST", "/v1/artifacts?name=x", io.MultiReader(bytes.NewReader(make([]byte, 200_000)))).problem(t, 413, "limit", "100000 bytes")
	if a := s.ask(t, adaToken, "GET", "/v1/artifacts", ""); strings.Count(a.text, `"run_id"`) != 1 {
		t.Error(a.text)
	}
}

// TestDamagedArtifact: what is not what was stored never comes as a whole.
func TestDamagedArtifact(t *testing.T) {
	s := open(t, options{})
	content := strings.Repeat("0123456789", 20_000)
	a := s.send(t, adaToken, "POST", "/v1/artifacts?name=x", strings.NewReader(content))
	digest, _ := a.body["digest"].(string)
	damaged := 0
	err := filepath.WalkDir(s.hosts["acme"].StateDir(), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, "content") || !strings.Contains(path, strings.TrimPrefix(digest, "sha256:")[2:]) {
			return err
		}
		damaged++
		return os.WriteFile(path, []byte(strings.Replace(content, "9", "8", 1)), 0o600)
	})
	if err != nil || damaged != 1 {
		t.Fatal(damaged, err)
	}
	id, _ := a.body["id"].(string)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/artifacts/"+id+"/content", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+adaToken)
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil || len(got) == len(content) {
		t.Error(len(got), "bytes came, and no error")
	}
}

func TestAudit(t *testing.T) {
	s := open(t, options{})
	a := s.ask(t, adaToken, "POST", "/v1/pipelines/echo/runs?wait=30", `{"input": {"text": "a"}}`)
	run, _ := a.body["run_id"].(string)
	first := s.ask(t, adaToken, "GET", "/v1/audit?run_id="+run+"&limit=1", "")
	next, _ := first.body["next"].(string)
	if first.status != 200 || strings.Count(first.text, `"n":`) != 1 || !strings.Contains(first.text, "pipeline.run") || next == "" || first.body["more"] != true {
		t.Fatal(first.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/audit?run_id="+run+"&after="+next, ""); !strings.Contains(a.text, "pipeline.end") || strings.Contains(a.text, `"n":1,`) || a.body["more"] != false {
		t.Error(a.text)
	}
	if a := s.ask(t, adaToken, "GET", "/v1/audit?kind=access&action=audit.*", ""); !strings.Contains(a.text, "audit.read") || strings.Contains(a.text, "pipeline") {
		t.Error(a.text)
	}
	s.ask(t, adaToken, "GET", "/v1/audit?after=1.7", "").problem(t, 422, "port.arguments", "is no place in the audit log")
	s.ask(t, adaToken, "GET", "/v1/audit?after=x", "").problem(t, 422, "port.arguments", "is no place in the audit log")

	checkpoint := sealed(t, s)
	known, _ := checkpoint.body["checkpoint"].(string)
	key, _ := checkpoint.body["key"].(string)
	proved := s.ask(t, adaToken, "POST", "/v1/audit/proof", fmt.Sprintf(`{"record": 2, "known": %q}`, known))
	var proof host.AuditProof
	proved.into(t, &proof)
	if r, err := proof.Check(key); err != nil || r == nil {
		t.Error(r, err, proved.text)
	}
	if a := s.ask(t, adaToken, "POST", "/v1/audit/verify", fmt.Sprintf(`{"known": %q}`, known)); a.status != 200 || a.body["key"] != key {
		t.Error(a.status, a.text)
	}
	s.ask(t, adaToken, "POST", "/v1/audit/proof", `{}`).problem(t, 422, "input.invalid", "there is nothing to prove")
	s.ask(t, evilToken, "POST", "/v1/audit/verify", fmt.Sprintf(`{"known": %q}`, known)).problem(t, 422, "config.invalid", "the known checkpoint cannot be used")
}

// sealed returns a checkpoint that covers some records: one is signed now and then.
func sealed(t *testing.T, s *site) *answered {
	t.Helper()
	for ; ; time.Sleep(50 * time.Millisecond) {
		a := s.ask(t, adaToken, "GET", "/v1/audit/checkpoint", "")
		text, _ := a.body["checkpoint"].(string)
		lines := strings.Split(text, "\n")
		if a.status != 200 || len(lines) < 2 {
			t.Fatal(a.status, a.text)
		}
		if n, err := strconv.Atoi(lines[1]); err != nil || n > 1 {
			return a
		}
	}
}

func TestPolicies(t *testing.T) {
	s := open(t, options{config: `  ports:
    governance:
      adapter: rbac
      config:
        roles: {reader: {allow: [{action: "*.list"}, {action: "policy.*", resource: "user:ada"}]}}
        bindings: [{subjects: ["user:ada"], roles: [reader]}]
`})
	a := s.ask(t, adaToken, "GET", "/v1/policies", "")
	if a.status != 200 || !strings.Contains(a.text, `"revision":`) {
		t.Fatal(a.text)
	}
	a = s.ask(t, adaToken, "POST", "/v1/policies/explain", `{"action": "run.list", "resource_type": "tenant", "resource_id": "acme"}`)
	if a.status != 200 || a.body["effect"] != "allow" {
		t.Error(a.text)
	}
	a = s.ask(t, adaToken, "POST", "/v1/policies/explain", `{"action": "artifact.delete", "args": {"n": 1.5}}`)
	if a.status != 200 || a.body["effect"] != "deny" {
		t.Error(a.text)
	}
	s.ask(t, adaToken, "POST", "/v1/policies/explain", `{"action": "run.list", "principal": "bob"}`).problem(t, 403, "denied")
	if a := s.ask(t, adaToken, "GET", "/v1/permissions", ""); a.status != 200 || !strings.Contains(a.text, "*.list") {
		t.Error(a.status, a.text)
	}
	s.ask(t, adaToken, "POST", "/v1/policies/reload", "").problem(t, 403, "denied")
	s.ask(t, adaToken, "GET", "/v1/audit", "").problem(t, 403, "denied")
	s.ask(t, adaToken, "POST", "/v1/audit/verify", "{}").problem(t, 403, "denied")
	s.ask(t, bobToken, "GET", "/v1/artifacts", "").problem(t, 403, "denied")
	s.send(t, adaToken, "POST", "/v1/artifacts?name=x", strings.NewReader("x")).problem(t, 403, "denied")
}
