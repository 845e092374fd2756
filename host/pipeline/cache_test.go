package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCacheSeesChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("p.yaml", "kind: Pipeline\nmetadata: {name: '${NAME:none}'}\nspec: {nodes: [{'!include': n.yaml}]}\n")
	write("n.yaml", "- {kind: data_node, metadata: {name: a}, spec: {output: 1}}\n")
	env := map[string]string{}
	opts := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	var c Cache
	read := func() *Pipeline {
		f, err := c.Read(filepath.Join(dir, "p.yaml"), opts)
		if err != nil {
			t.Fatal(err)
		}
		return f.Pipeline
	}
	first := read()
	if read() != first {
		t.Error("read anew although nothing has changed")
	}
	env["NAME"] = "renamed"
	if second := read(); second == first || second.Name != "renamed" {
		t.Errorf("a variable has changed: %s", second.Name)
	}
	write("n.yaml", "- {kind: data_node, metadata: {name: b}, spec: {output: 1}}\n")
	if third := read(); third.Nodes[0].Name != "b" || read() != third {
		t.Errorf("an included file has changed: %s", third.Nodes[0].Name)
	}
	write("n.yaml", "- {kind: nope}\n")
	if _, err := c.Read(filepath.Join(dir, "p.yaml"), opts); err == nil {
		t.Error("a broken file is taken from the cache")
	}
}

func BenchmarkCachedRead(b *testing.B) {
	var text strings.Builder
	text.WriteString("kind: Pipeline\nmetadata: {name: b}\nspec:\n  nodes:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "    - {kind: data_node, metadata: {name: n%d}, spec: {output: 1}}\n", i)
	}
	file := filepath.Join(b.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	var c Cache
	for b.Loop() {
		if _, err := c.Read(file, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
