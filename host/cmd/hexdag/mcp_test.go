package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is offered is listed, and a tool that has changed is shown with what it was, and taken.
func TestMCP(t *testing.T) {
	dir := t.TempDir()
	wasm, err := os.ReadFile(puppet)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "hexdag.yaml")
	for name, text := range map[string]string{
		"puppet.wasm": string(wasm),
		"hexdag.yaml": "kind: Config\nmetadata: {name: t}\nspec:\n  ports: {database: {adapter: memory}}\n  modules:\n    puppet: {path: puppet.wasm, grants: [metrics.count, database.query], config: {output: 7}}\n",
		"greet.yaml":  "kind: Pipeline\nmetadata: {name: greet, description: \"Greets.\"}\nspec:\n  nodes:\n    - {kind: data_node, metadata: {name: a}, spec: {output: hello}}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cli(t, "", "mcp", "tools", "--config", config, dir).wants(t, exitDone, "puppet.pull  offered as pull", "pipeline:greet  offered as greet")
	cli(t, "", "mcp", "--config", config, dir).wants(t, exitDone) // a client that hangs up at once

	greet := filepath.Join(dir, "greet.yaml")
	text, err := os.ReadFile(greet)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(greet, []byte(strings.Replace(string(text), "Greets.", "Greets, \\e[31m and more.", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, "", "mcp", "tools", "--config", config, dir).wants(t, exitDone, "pipeline:greet  changed at ", "hexdag mcp approve --hash sha256:", "was  Greets.", `is   Greets, \x1b[31m and more.`)
	cli(t, "", "mcp", "approve", "pipeline:greet", "--config", config, "--hash", "sha256:0").wants(t, exitBadInput, "has changed again")
	cli(t, "", "mcp", "approve", "pipeline:greet", "--config", config, "--as", "bob").wants(t, exitDone, "pipeline:greet is pinned as sha256:")
	cli(t, "", "mcp", "tools", "--config", config, "--json", dir).wants(t, exitDone, `"pipeline:greet":"greet"`, `"by":"bob"`)
	cli(t, "", "mcp", "approve", "pipeline:greet", "--config", config).wants(t, exitBadInput, "has not changed")
	cli(t, "", "mcp", "approve", "nothing", "--config", config).wants(t, exitFailed, "was offered yet")
	cli(t, "", "mcp", "--config", config, "--http", "0.0.0.0:0").wants(t, exitBadInput, "other machines could call it", "--tokens FILE")
	cli(t, "", "mcp", "--config", config, filepath.Join(dir, "none")).wants(t, exitBadInput, "there are no pipelines at")
}
