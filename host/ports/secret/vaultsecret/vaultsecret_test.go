package vaultsecret_test

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
	"github.com/hexdag/hexdag/host/ports/secret/secrettest"
	"github.com/hexdag/hexdag/host/ports/secret/vaultsecret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a contract test's half, no Vault: it answers what the documentation of the HTTP API of
// the KV engine, version 2, says of "Read secret version" and of status codes. Neither Vault's nor
// OpenBao's program could be had where this was written.
type fake struct {
	*httptest.Server

	mu        sync.Mutex
	values    map[string]string // fields of secret/data/team/app
	token     string
	namespace string
	answer    func(w http.ResponseWriter, r *http.Request) bool // instead, where it is true
	asked     int
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{values: map[string]string{}, token: "hvs.good"}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	w.Header().Set("Content-Type", "application/json")
	fail := func(status int, errs ...string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, errs...)})
	}
	switch {
	case f.answer != nil && f.answer(w, r):
	case r.Header.Get("X-Vault-Token") == "":
		fail(http.StatusForbidden, "permission denied")
	case r.Header.Get("X-Vault-Token") != f.token || r.Header.Get("X-Vault-Namespace") != f.namespace:
		fail(http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
	case r.Method != http.MethodGet:
		fail(http.StatusMethodNotAllowed)
	case r.URL.EscapedPath() == "/v1/secret/data/team/app":
		data := map[string]any{"count": 7}
		for name, value := range f.values {
			data[name] = value
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "0e37df36", "lease_id": "", "renewable": false, "lease_duration": 0, "wrap_info": nil, "warnings": nil, "auth": nil, "mount_type": "kv",
			"data": map[string]any{"data": data, "metadata": map[string]any{"created_time": "2026-03-22T02:24:06.945319214Z", "custom_metadata": nil, "deletion_time": "", "destroyed": false, "version": 2}}})
	case r.URL.EscapedPath() == "/v1/secret/data/team/deleted": // its newest version is
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"data":{"data":null,"metadata":{"created_time":"2026-03-22T02:24:06Z","deletion_time":"2026-03-22T02:36:43Z","destroyed":false,"version":2}}}`))
	default:
		fail(http.StatusNotFound)
	}
}

func TestContract(t *testing.T) {
	secrettest.Run(t, func(t *testing.T, secrets map[string]string) (driver.Store, func(string) string, func(name, value string)) {
		f := newFake(t)
		f.values = secrets
		t.Setenv("VAULT_TEST_TOKEN", f.token)
		return newStore(t, vaultsecret.Config{URL: f.URL, TokenEnv: "VAULT_TEST_TOKEN", TTL: -1}), func(name string) string { return "team/app#" + name }, func(name, value string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.values[name] = value
		}
	})
}

func newStore(t *testing.T, cfg vaultsecret.Config) driver.Store {
	t.Helper()
	s, err := vaultsecret.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestKept: a value is asked for once in its time, with all of its path's fields.
func TestKept(t *testing.T) {
	f := newFake(t)
	f.values = map[string]string{"a": "1", "b": "2"}
	t.Setenv("VAULT_TOKEN", f.token)
	s := newStore(t, vaultsecret.Config{URL: f.URL})
	defer s.Close()
	for range 5 {
		for _, field := range []string{"a", "b"} {
			if got, err := s.Get(t.Context(), "team/app#"+field); got != f.values[field] || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
	}
	if f.asked != 1 {
		t.Errorf("it was asked %d times", f.asked)
	}
}

// TestToken: the file's newest token is used, for the namespace.
func TestToken(t *testing.T) {
	f := newFake(t)
	f.values, f.namespace = map[string]string{"a": "1"}, "team"
	file := filepath.Join(t.TempDir(), "token")
	s := newStore(t, vaultsecret.Config{URL: f.URL, TokenFile: file, Namespace: "team", TTL: -1})
	defer s.Close()
	get := func() error { _, err := s.Get(t.Context(), "team/app#a"); return err }
	if err := get(); kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "token's file cannot be opened") {
		t.Errorf("without a file: %v", err)
	}
	for token, code := range map[string]kernel.Code{"": kernel.CodeUnavailable, "hvs.stale": kernel.CodeUnavailable, "a\nb": kernel.CodeUnavailable, f.token + "\n": ""} {
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := get(); kernel.CodeOf(err) != code || err != nil && strings.Contains(err.Error(), "hvs") {
			t.Errorf("%q: %v", token, err)
		}
	}
}

// TestAnswers: each says what to do, and nothing of what the server said.
func TestAnswers(t *testing.T) {
	f := newFake(t)
	f.values = map[string]string{"a": "CANARY"}
	t.Setenv("VAULT_TOKEN", f.token)
	s := newStore(t, vaultsecret.Config{URL: f.URL, TTL: -1, Timeout: 1})
	defer s.Close()
	elsewhere := newFake(t)
	for name, c := range map[string]struct {
		status int
		body   string
		code   kernel.Code
		says   string
	}{
		"forbidden": {403, `{"errors":["CANARY"]}`, kernel.CodeUnavailable, "denies the token"}, "standby": {429, "", kernel.CodeRetry, "429"}, "not replicated": {412, "", kernel.CodeRetry, "412"}, "broken": {500, "CANARY", kernel.CodeRetry, "500"},
		"sealed": {503, `{"errors":["Vault is sealed"]}`, kernel.CodeUnavailable, "sealed"}, "bad request": {400, "", kernel.CodeUnavailable, "answered 400"}, "a redirect": {307, "", kernel.CodeUnavailable, "active node"},
		"version 1": {200, `{"data":{"a":"CANARY"}}`, kernel.CodeUnavailable, "version 2"}, "no JSON": {200, "CANARY", kernel.CodeUnavailable, "version 2"}, "nothing": {200, "", kernel.CodeUnavailable, "version 2"}, "a list": {200, `[1]`, kernel.CodeUnavailable, "version 2"},
		"too large": {200, strings.Repeat("CANARY", 1<<20), kernel.CodeUnavailable, "too large"}, "twice": {200, `{"data":{"data":{"a":"x"},"data":{"a":"CANARY"}}}`, kernel.CodeUnavailable, "version 2"},
	} {
		f.mu.Lock()
		f.answer = func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Location", elsewhere.URL+r.URL.Path)
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
			return true
		}
		f.mu.Unlock()
		_, err := s.Get(t.Context(), "team/app#a")
		if kernel.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(fmt.Sprintf("%+v", err), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if elsewhere.asked != 0 {
		t.Error("the token went elsewhere")
	}
	f.mu.Lock()
	f.answer = nil
	f.mu.Unlock()
	for _, ref := range []string{"team/app#b", "team/app#count", "team/deleted#a", "team/no#a", "team/APP#a"} {
		if _, err := s.Get(t.Context(), ref); !errors.Is(err, driver.ErrNotFound) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	f.Close()
	if _, err := s.Get(t.Context(), "team/app#a"); kernel.CodeOf(err) != kernel.CodeUnavailable || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestTLS(t *testing.T) {
	f := &fake{values: map[string]string{"a": "1"}, token: "hvs.good"}
	f.Server = httptest.NewUnstartedServer(f)
	f.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	f.StartTLS()
	defer f.Close()
	t.Setenv("VAULT_TOKEN", f.token)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, fine := range map[string]bool{ca: true, "": false} {
		s := newStore(t, vaultsecret.Config{URL: f.URL, CAFile: file})
		if _, err := s.Get(t.Context(), "team/app#a"); (err == nil) != fine {
			t.Errorf("%q: %v", file, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	for name, cfg := range map[string]vaultsecret.Config{
		"no url": {}, "no scheme": {URL: "vault:8200"}, "clear": {URL: "http://vault.example.com"}, "a password": {URL: "https://a:b@vault"}, "another scheme": {URL: "ftp://vault"}, "a query": {URL: "https://vault?x=1"},
		"a mount that leads away": {URL: "https://vault", Mount: "../sys"}, "two tokens": {URL: "https://vault", TokenEnv: "A", TokenFile: "b"}, "for ever": {URL: "https://vault", TTL: 3600}, "no file": {URL: "https://vault", CAFile: "/no/such"},
	} {
		if _, err := vaultsecret.New(cfg); kernel.CodeOf(err) != kernel.CodeConfig {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newStore(t, vaultsecret.Config{URL: "https://vault"})
	for _, ref := range []string{"", "a", "#a", "a#", "../sys/x#a", "a//b#c", "/a#b", "a/./b#c", "a b#c", "a\n#c"} {
		if s.Check(ref) == nil {
			t.Errorf("%q is a reference", ref)
		}
	}
}
