package host_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/testenv"
)

// TestMain keeps the tests out of the real home; all of them share one cache of
// compiled modules and one key.
func TestMain(m *testing.M) {
	if task, is := os.LookupEnv(mortalEnv); is {
		mortal(task)
		return
	}
	remove, err := testenv.Home()
	if err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		remove()
		os.Exit(code)
	}))
}

// site is a folder with a configuration and a pipeline.
type site struct{ dir string }

func (s site) path(name string) string { return filepath.Join(s.dir, name) }

func (s site) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o700); err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(t.TempDir(), "written") // who watches sees a file as it was, or as it is
	if err := os.WriteFile(beside, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, s.path(name)); err != nil {
		t.Fatal(err)
	}
}

// puppet is the path of a guest that does what its configuration says: see testdata/puppet.
func puppet(t testing.TB) string {
	t.Helper()
	path, err := filepath.Abs("testdata/puppet/puppet.wasm")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// newSite writes hexdag.yaml with the spec, in which PUPPET is the puppet's path.
func newSite(t testing.TB, spec string) site {
	t.Helper()
	s := site{t.TempDir()}
	s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n"+strings.ReplaceAll(spec, "PUPPET", puppet(t)))
	return s
}

func (s site) new(t testing.TB) (*host.Host, error) {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		return nil, err
	}
	return host.New(t.Context(), cfg, host.Options{})
}

// open returns the site's host, closed at the end of the test.
func (s site) open(t testing.TB) *host.Host {
	t.Helper()
	h, err := s.new(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close(t.Context()) })
	return h
}

// load writes pipeline.yaml with the nodes, each on a line of YAML, and loads it.
func (s site) load(t testing.TB, h *host.Host, nodes ...string) *host.Pipeline {
	t.Helper()
	s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - "+strings.Join(nodes, "\n    - ")+"\n")
	p, err := h.Load(t.Context(), s.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pull is a node that runs the module.
func pull(module string) string {
	return "{kind: function_node, metadata: {name: " + module + "}, dependencies: [], spec: {fn: " + module + "}}"
}

// store is a node, x, that stores the artifact x.
const store = `{kind: service_call_node, metadata: {name: x}, dependencies: [], spec: {service: artifacts, method: store, input_mapping: {name: "'x'", value: $input}}}`

// records returns the audit log's records.
func (s site) records(t *testing.T) []kernel.AuditRecord {
	t.Helper()
	var list []kernel.AuditRecord
	for line := range strings.Lines(readFile(t, s.path(".hexdag/audit/records.jsonl"))) {
		var r kernel.AuditRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		list = append(list, r)
	}
	return list
}

// wantError checks an error's code and that it says all the words.
func wantError(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	if got := kernel.CodeOf(err); got != code {
		t.Errorf("code %q, want %q: %v", got, code, err)
	}
	if err == nil {
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
