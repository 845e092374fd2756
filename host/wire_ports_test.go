package host_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// service is a node that calls an operation with the arguments, written as YAML.
func service(name, op, args, depends string) string {
	port, method, _ := strings.Cut(op, ".")
	return "{kind: service_call_node, metadata: {name: " + name + "}, dependencies: [" + depends + "], spec: {service: " + port + ", method: " + method + ", input_mapping: " + args + "}}"
}

// result runs the nodes and returns the result of the node last.
func (s site) result(t *testing.T, h *host.Host, input any, nodes ...string) (map[string]any, error) {
	t.Helper()
	res := s.load(t, h, nodes...).Run(t.Context(), input, host.RunOptions{})
	if res.Status != engine.Completed {
		return nil, res.Err
	}
	value, _ := res.NodeResults["last"].(map[string]any)
	return value, nil
}

const remember, recall = "{key: \"'k'\", value: $input}", "{key: \"'k'\"}"

// TestMemoryPort: without configuration it lasts as long as the host, in SQLite longer.
func TestMemoryPort(t *testing.T) {
	for spec, lasts := range map[string]bool{
		"  tenant: acme\n": false,
		"  ports: {memory: {adapter: in_memory_memory, config: {max_keys: 1}}}\n":      false,
		"  ports: {memory: {adapter: InMemoryMemory}}\n":                               false,
		"  ports: {memory: {adapter: sqlite}}\n":                                       true,
		"  ports: {memory: {adapter: sqlite_memory, config: {path: out-memory.db}}}\n": true,
	} {
		s := newSite(t, spec)
		h := s.open(t)
		if _, err := s.result(t, h, map[string]any{"n": 1}, service("last", "memory.set", remember, "")); err != nil {
			t.Fatal(spec, err)
		}
		got, err := s.result(t, h, nil, service("last", "memory.get", recall, ""))
		if v, _ := got["value"].(map[string]any); err != nil || v["n"] != kernel.Number(1) {
			t.Errorf("%s: %v, %v", spec, got, err)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, err = s.result(t, s.open(t), nil, service("last", "memory.get", recall, ""))
		if err != nil || got["found"] != lasts {
			t.Errorf("%s: after a restart: %v, %v", spec, got, err)
		}
	}
}

// TestEntityStates: what a run registered is there for the next, beside the
// tenant's own keys and not among them.
func TestEntityStates(t *testing.T) {
	s := newSite(t, "  ports: {memory: {adapter: sqlite}}\n")
	h := s.open(t)
	entity := "{entity: \"'order'\", entity_id: \"'1'\""
	nodes := []string{
		service("a", "entity_state.register", entity+"}", ""),
		service("last", "entity_state.transition", entity+", to_state: \"'paid'\"}", "a"),
	}
	got, err := s.result(t, h, nil, nodes...)
	if err != nil || got["from_state"] != "created" || got["to_state"] != "paid" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = s.result(t, h, nil, service("last", "entity_state.get_state", entity+"}", "")); err != nil || got["state"] != "paid" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err = s.result(t, h, nil, service("last", "memory.list_keys", "{prefix: \"''\"}", "")); err != nil || len(got["keys"].([]any)) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestHTTPPort(t *testing.T) {
	var reached atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"rate": 4}`))
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	get := service("last", "http.request", "{url: \"'"+server.URL+"/rates'\"}", "")
	for spec, why := range map[string]string{
		"  ports: {http: {adapter: http}}\n":                                                                                        "lists none",
		"  ports: {http: {adapter: http, config: {hosts: ['" + host + "']}}}\n":                                                     "its address is loopback",
		"  ports: {http: {adapter: http, config: {hosts: [api.example.com], allow_addresses: [127.0.0.0/8]}}}\n":                    "does not list it",
		"  ports: {http: {adapter: http, config: {hosts: ['" + host + "'], allow_addresses: [127.0.0.0/8]}}}\n":                     "",
		"  ports: {api_call: {adapter: http, config: {hosts: ['127.0.0.1:*'], allow_addresses: [127.0.0.1], max_redirects: -1}}}\n": "",
	} {
		before := reached.Load()
		s := newSite(t, spec)
		got, err := s.result(t, s.open(t), nil, get)
		if why != "" {
			wantError(t, err, kernel.CodeDenied, why)
			if reached.Load() != before {
				t.Errorf("%s: it was reached", spec)
			}
			continue
		}
		if body, _ := got["body"].(map[string]any); err != nil || body["rate"] != kernel.Number(4) || got["status_code"] != kernel.Number(200) {
			t.Errorf("%s: %v, %v", spec, got, err)
		}
		// The record names the host that was dialed.
		found := false
		for _, r := range s.records(t) {
			found = found || r.Action == "http.request" && r.Resource == host && r.Kind == "call"
		}
		if !found {
			t.Errorf("%s: no record names %s", spec, host)
		}
	}
}

func TestPortsRefuse(t *testing.T) {
	for spec, words := range map[string][]string{
		"  ports:\n    memory: {adapter: mongo}\n":                                       {"hexdag.yaml:5:", "no adapter mongo", "sqlite"},
		"  ports:\n    memory: {adapter: redis}\n":                                       {"hexdag.yaml:5:", "url is missing", "redis://"},
		"  ports:\n    memory: {adapter: redis, config: {url: 'redis://127.0.0.1:1'}}\n": {"hexdag.yaml:5:", "Redis cannot be reached"},
		"  ports:\n    memory: {adapter: redis, config: {path: x.db}}\n":                 {"hexdag.yaml:5:", "path", "it takes url"},
		"  ports:\n    memory: {adapter: memory, config: {path: x.db}}\n":                {"hexdag.yaml:5:", "adapter sqlite"},
		"  ports:\n    memory: {adapter: sqlite, config: {max_key: 1}}\n":                {"hexdag.yaml:5:", "max_key", "it takes max_key_bytes"},
		"  ports:\n    memory: {adapter: sqlite, config: {max_keys: -1}}\n":              {"hexdag.yaml:5:", "positive"},
		"  ports:\n    memory: {adapter: sqlite, config: {path: hexdag.yaml}}\n":         {"hexdag.yaml", "cannot be used"},
		"  ports:\n    http: {adapter: http, config: {hosts: ['https://a/b']}}\n":        {"hexdag.yaml:5:", "without a scheme"},
		"  ports:\n    http: {adapter: http}\n    api_call: {adapter: http}\n":           {"hexdag.yaml:6:", "one port under two names"},
		"  ports:\n    http: {adapter: http, config: {allow_addresses: [everything]}}\n": {"hexdag.yaml:5:", "no prefix"},
	} {
		s := newSite(t, spec)
		h, err := s.new(t)
		if err == nil {
			t.Errorf("%s: no error", spec)
			_ = h.Close(t.Context())
			continue
		}
		if kernel.CodeOf(err) != kernel.CodeConfig && kernel.CodeOf(err) != kernel.CodeUnavailable {
			t.Errorf("%s: %v", spec, err)
		}
		for _, word := range words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", spec, err, word)
			}
		}
	}
}

// A pipeline can bring a memory of its own, and never a way out.
func TestPipelinesPorts(t *testing.T) {
	s := newSite(t, "  ports: {http: {adapter: http}}\n")
	h := s.open(t)
	load := func(ports, node string) (*host.Pipeline, error) {
		s.write(t, "own.yaml", "kind: Pipeline\nmetadata: {name: own}\nspec:\n  ports:\n    "+ports+"\n  nodes:\n    - "+node+"\n")
		return h.Load(t.Context(), s.path("own.yaml"), host.LoadOptions{})
	}
	for _, port := range []string{"http", "api_call"} {
		_, err := load(port+": {adapter: http, config: {hosts: ['**'], allow_addresses: [0.0.0.0/0]}}", service("last", "http.request", "{url: \"'http://127.0.0.1/'\"}", ""))
		wantError(t, err, kernel.CodeConfig, "a pipeline cannot bring its own http port", "own.yaml:5:")
	}
	_, err := load("memory: {adapter: redis, config: {url: 'redis://127.0.0.1:1'}}", service("last", "memory.get", recall, ""))
	wantError(t, err, kernel.CodeConfig, "may not send to Redis at 127.0.0.1:1", "own.yaml:5:")
	p, err := load("memory: {adapter: memory}", service("last", "memory.set", remember, ""))
	if err != nil {
		t.Fatal(err)
	}
	if res := p.Run(t.Context(), 1, host.RunOptions{}); res.Status != engine.Completed {
		t.Fatal(res.Err)
	}
	if got, err := s.result(t, h, nil, service("last", "memory.get", recall, "")); err != nil || got["found"] != false {
		t.Errorf("the operator's memory has %v, %v", got, err)
	}
}
