package host_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// theSecret is what nobody but the server may ever see.
const theSecret = `sk_live_CANARY/4242+"é`

// bank is a server that keeps what it was sent, and sends all of it back.
type bank struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func newBank(t *testing.T) *bank {
	t.Helper()
	b := &bank{}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		b.got = append(b.got, r.Header.Get("Authorization")+" "+r.URL.Query().Get("key")+" "+string(body))
		b.mu.Unlock()
		w.Header().Set("X-Echo", r.Header.Get("X-Key"))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"authorization": r.Header.Get("Authorization"), "query": r.URL.RawQuery, "body": string(body), "base64": base64.StdEncoding.EncodeToString([]byte(r.URL.Query().Get("key")))})
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *bank) last() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.got) == 0 {
		return ""
	}
	return b.got[len(b.got)-1]
}

// teller builds the puppet with a manifest that asks for requests and secrets.
func teller(t *testing.T, s site) {
	t.Helper()
	testenv.NeedClang(t)
	source, err := filepath.Abs("testdata/puppet")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(readFile(t, filepath.Join(source, "puppet.c")), "../../../guests", filepath.Join(source, "../../../guests"))
	s.write(t, "teller/teller.c", text)
	s.write(t, "teller/manifest.json", `{"name": "teller", "version": "1.0.0", "description": "Asks a bank.", "capabilities": ["http.request", "secret.use", "secret.get"]}`)
	if err := host.BuildModule(t.Context(), s.path("teller"), s.path("teller.wasm"), t.Output()); err != nil {
		t.Fatal(err)
	}
}

// TestSecrets: a secret reaches the server and nothing else: no result, event, log line, error,
// record, case or file of the host has it, whatever becomes of the request.
func TestSecrets(t *testing.T) {
	server := newBank(t)
	address := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("SHOP_STRIPE", theSecret)
	t.Setenv("SHOP_BROKEN", "CANARY in two\r\nlines")
	s := newSite(t, `  principal: ann
  tenant: acme
  ports:
    memory: {adapter: sqlite}
    http: {adapter: http, config: {hosts: ['`+address+`', '127.0.0.1:1', 'localhost:*'], allow_addresses: [127.0.0.0/8]}, middleware: [ResponseCache]}
    secret:
      adapter: env
      config:
        secrets:
          stripe: {from: SHOP_STRIPE, hosts: ['http://`+address+`', 'http://127.0.0.1:1']}
          elsewhere: {from: SHOP_STRIPE, hosts: [api.example.com]}
          encrypted: {from: SHOP_STRIPE, hosts: ['`+address+`']}
          broken: {from: SHOP_BROKEN, hosts: ['http://**']}
  modules:
    teller: {path: teller.wasm, grants: [{http.request: {host: '`+address+`'}}, {secret.use: {name: stripe, host: '`+address+`'}}, secret.get], config: {op: http.request, args: {url: '`+server.URL+`', headers: {Authorization: 'Bearer <secret:stripe>'}}}}
    thief: {path: teller.wasm, grants: [http.request, {secret.use: {name: other}}, secret.get], config: {op: http.request, args: {url: '`+server.URL+`', headers: {Authorization: 'Bearer <secret:stripe>'}}}}
    asker: {path: teller.wasm, grants: [http.request, secret.use, secret.get], config: {op: secret.use, args: {name: stripe, host: '`+address+`'}}}
`)
	teller(t, s)
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.path("cases"), 0o700); err != nil {
		t.Fatal(err)
	}
	var log lockedBuffer
	h, err := host.New(t.Context(), cfg, host.Options{Log: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), RecordCases: s.path("cases")})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	var events lockedBuffer
	observe := host.Tell(func(e *host.Event) {
		text, err := json.Marshal(e)
		if err != nil {
			t.Error(err)
		}
		_, _ = events.Write(append(text, '\n'))
	})
	seen := ""
	run := func(input any, nodes ...string) (*host.Result, error) {
		res := s.load(t, h, nodes...).Run(t.Context(), input, host.RunOptions{Recorder: observe})
		text, err := json.Marshal(res)
		if err != nil {
			t.Error(err)
		}
		seen += string(text) + fmt.Sprintf("%+v %v\n", res.Err, res.Err)
		return res, res.Err
	}
	request := func(args string) string { return service("last", "http.request", args, "") }
	url := `url: "'` + server.URL + `/pay'"`

	// Where it may go, in all that can carry it; what comes back has the handle in its place.
	res, err := run(map[string]any{"Authorization": "Bearer <secret:stripe>", "X-Key": "k <secret:stripe>"}, request("{"+url+`, headers: "{'Authorization': $input['Authorization']}", params: "{'key': '<secret:stripe>'}", method: "'POST'", json: "{'a': ['<secret:stripe>', '<secret:nothing']}"}`),
		service("keep", "memory.set", `{key: "'answer'", value: last}`, "last"), service("file", "artifacts.store", `{name: "'answer'", value: last}`, "last"))
	if err != nil {
		t.Fatal(err)
	}
	if got := server.last(); !strings.HasPrefix(got, "Bearer "+theSecret+" "+theSecret+" ") || strings.Count(got, "CANARY") != 3 {
		t.Errorf("the server got %q", got)
	}
	answer, _ := res.NodeResults["last"].(map[string]any)
	if body, _ := answer["body"].(map[string]any); body["authorization"] != "Bearer <secret:stripe>" || body["query"] != "key=<secret:stripe>" || body["base64"] != "<secret:stripe>" {
		t.Errorf("the answer is %v", answer)
	}
	if res, err = run(nil, pull("teller")); err != nil || !strings.Contains(fmt.Sprint(res.NodeResults["teller"]), "Bearer <secret:stripe>") {
		t.Errorf("the module: %v, %v", res.NodeResults, err)
	}
	// Twice the same request is two requests: an answer is not kept for who may not ask.
	asked := len(server.got)
	for range 2 {
		if _, err := run(nil, request("{"+url+`, params: "{'key': '<secret:stripe>'}"}`)); err != nil {
			t.Error(err)
		}
	}
	if n := len(server.got) - asked; n != 2 {
		t.Errorf("two requests are %d", n)
	}

	for name, c := range map[string]struct {
		node string
		code kernel.Code
		says string
	}{
		"a module without the grant":  {pull("thief"), kernel.CodeFailed, "may not call secret.use"},
		"a module that wants to see":  {pull("asker"), kernel.CodeFailed, "no secret is handed out"},
		"a node that wants to see":    {service("last", "secret.use", `{name: "'stripe'", host: "'`+address+`'"}`, ""), kernel.CodeDenied, "no secret is handed out"},
		"a secret for another host":   {request("{" + url + `, headers: "{'A': '<secret:elsewhere>'}"}`), kernel.CodeDenied, "may not be sent to " + address},
		"a secret for https":          {request("{" + url + `, headers: "{'A': '<secret:encrypted>'}"}`), kernel.CodeDenied, "encrypts nothing"},
		"a secret that there is not":  {request("{" + url + `, headers: "{'A': '<secret:nothing>'}"}`), kernel.CodeNotFound, "no secret nothing"},
		"a host that is not there":    {request(`{url: "'http://127.0.0.1:1/'", headers: "{'A': '<secret:stripe>'}", params: "{'q': '<secret:stripe>'}"}`), kernel.CodeUnavailable, "cannot be reached"},
		"a secret of two lines":       {request("{" + url + `, headers: "{'A': '<secret:broken>'}"}`), kernel.CodeArguments, "no single line"},
		"a secret in the URL":         {request(`{url: "'` + server.URL + `/<secret:stripe>'"}`), kernel.CodeArguments, "cannot be in the URL"},
		"a name of the host's in two": {request(`{url: "'` + strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + `/'", headers: "{'A': '<secret:stripe>'}"}`), kernel.CodeDenied, "may not be sent to localhost"},
	} {
		asked := len(server.got)
		_, err := run(nil, c.node)
		if kernel.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) || len(server.got) != asked {
			t.Errorf("%s: %v, %d requests", name, err, len(server.got)-asked)
		}
	}
	if res, err = run(nil, service("last", "secret.get", `{name: "'stripe'"}`, "")); err != nil || fmt.Sprint(res.NodeResults["last"]) != "map[handle:<secret:stripe> name:stripe]" {
		t.Errorf("%v, %v", res.NodeResults, err)
	}

	var uses []string
	for _, r := range s.records(t) {
		if r.Action == "secret.use" && r.Kind == "call" {
			uses = append(uses, line(r))
		}
	}
	for _, want := range []string{"call ann secret.use stripe allow ", "call ann>module:teller secret.use stripe allow ", "call ann>module:thief secret.use stripe deny denied"} {
		if !slices.Contains(uses, want) {
			t.Errorf("there is no record %q among %q", want, uses)
		}
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
	searched := 0
	search := func(where, text string) {
		searched++
		for _, form := range []string{"CANARY", base64.StdEncoding.EncodeToString([]byte(theSecret))[:16]} {
			if i := strings.Index(text, form); i >= 0 {
				t.Errorf("%s has it: …%q", where, text[max(0, i-100):min(len(text), i+40)])
			}
		}
	}
	search("a result or an error", seen)
	search("an event", events.String())
	search("the log", log.String())
	err = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		search(path, string(text))
		return err
	})
	if err != nil || searched < 10 || events.String() == "" {
		t.Errorf("%d places were searched, %v", searched, err)
	}
	if text := readFile(t, s.path(".hexdag/memory.db")); !strings.Contains(text, "<secret:stripe>") {
		t.Error("the search would not have found it in the memory")
	}
}

// lockedBuffer is a buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestSecretsAreTheOperators: a pipeline brings none, and what is configured wrong says so.
func TestSecretsAreTheOperators(t *testing.T) {
	s := newSite(t, "  tenant: acme\n")
	h := s.open(t)
	s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    secret: {adapter: env, config: {secrets: {all: {from: HOME, hosts: ['**']}}}}\n  nodes: []\n")
	_, err := h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	wantError(t, err, kernel.CodeConfig, "a pipeline cannot bring its own secret port", "own.yaml:5:")
	bare := newSite(t, "  ports: {http: {adapter: http, config: {hosts: [api.example.com]}}}\n")
	_, err = bare.result(t, bare.open(t), nil, service("last", "http.request", `{url: "'https://api.example.com'", headers: "{'A': '<secret:x>'}"}`, ""))
	wantError(t, err, kernel.CodeUnsupported, "no operation secret.use")
	for spec, says := range map[string]string{
		"{adapter: env, config: {secrets: {stripe: {from: STRIPE}}}}":                             "stripe may go nowhere",
		"{adapter: env, config: {secrets: {stripe: {from: 'A B', hosts: [a]}}}}":                  "no name of an environment variable",
		"{adapter: env, config: {secrets: {'a b': {from: A, hosts: [a]}}}}":                       "no name of a secret",
		"{adapter: env, config: {secrets: {a: {from: A, hosts: ['https://a/b']}}}}":               "is no host",
		"{adapter: env, config: {secret: {}}}":                                                    "it takes secrets",
		"{adapter: age, config: {file: no.age, identity_env: PATH}}":                              "has no line AGE-SECRET-KEY",
		"{adapter: vault, config: {url: 'https://vault', secrets: {a: {from: app, hosts: [a]}}}}": "written path#field",
		"{adapter: vault, config: {url: 'http://vault.example.com'}}":                             "write https://",
		"{adapter: keychain}": "known are age, env, vault",
	} {
		s := newSite(t, "  ports:\n    secret: "+spec+"\n")
		_, err := s.new(t)
		wantError(t, err, kernel.CodeConfig, says, "hexdag.yaml:5:")
	}
}
