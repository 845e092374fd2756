package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/pipeline"
)

func TestBadOfferings(t *testing.T) {
	for text, words := range map[string]string{
		"prompts: {a b: {messages: [{text: x}]}}":                                    "prompts: a b is no name",
		"prompts: {a: {}}":                                                           "prompt a needs messages or a tool, and not both",
		"prompts: {a: {tool: m.t, messages: [{text: x}]}}":                           "prompt a needs messages or a tool, and not both",
		"prompts: {a: {messages: [{text: x, file: y}]}}":                             "a message of prompt a has 2 of text, file and resource",
		"prompts: {a: {messages: [{role: user}]}}":                                   "a message of prompt a has 0 of text, file and resource",
		"prompts: {a: {messages: [{role: system, text: x}]}}":                        "role",
		`prompts: {a: {arguments: {b: {}}, messages: [{text: "{{ c }}"}]}}`:          "prompt a has no argument c",
		`prompts: {a: {arguments: {b: {}}, messages: [{text: "{{ b.c }}"}]}}`:        "prompt a has no argument b.c",
		`prompts: {a: {messages: [{resource: "docs://{{ b }}"}]}}`:                   "prompt a has no argument b",
		"prompts: {a: {surprise: 1, messages: [{text: x}]}}":                         "surprise",
		"resources: {a: {file: x}}":                                                  "uri",
		`resources: {a: {uri: "docs", file: x}}`:                                     "docs is no URI",
		`resources: {a: {uri: "docs://a b", file: x}}`:                               "is no URI",
		`resources: {a: {uri: "docs://%zz", file: x}}`:                               "is no URI",
		`resources: {a: {uri: "docs://{x", tool: m.t}}`:                              "is no URI",
		`resources: {a: {uri: "hexdag://runs/x", file: x}}`:                          "hexdag:// is for runs",
		`resources: {a: {uri: "docs://a"}}`:                                          "needs a file or a tool, and not both",
		`resources: {a: {uri: "docs://{x}", file: x}}`:                               "is one file, and its URI has variables",
		`resources: {a: {uri: "docs://{x}", tool: m.t, variables: {y: {}}}}`:         "its URI has no variable y",
		`resources: {a: {uri: "docs://a", file: x}, b: {uri: "docs://a", file: y}}`:  "resource b has the URI of another",
		`resources: {a: {uri: "docs://` + strings.Repeat("a", 1100) + `", file: x}}`: "the limit is 1024",
	} {
		file := filepath.Join(t.TempDir(), "hexdag.yaml")
		if err := os.WriteFile(file, []byte("kind: Config\nmetadata: {name: c}\nspec:\n  mcp: {"+text+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := pipeline.LoadConfig(file); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", text, err, words)
		}
	}
}
