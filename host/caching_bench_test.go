package host_test

import (
	"context"
	"crypto/sha256"
	"os"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

// BenchmarkCache runs a pipeline of one node: that works for nothing, and whose answer of 1 KB is kept
// on the disk. What a program does that keeps an answer in a file itself is read-a-file.
func BenchmarkCache(b *testing.B) {
	answer := map[string]any{"text": strings.Repeat("x", 1000)}
	dir := b.TempDir()
	s := site{dir}
	config := "kind: Config\nmetadata: {name: bench}\nspec: {state: " + b.TempDir() + "}\n"
	if err := os.WriteFile(s.path("hexdag.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	h, err := host.New(b.Context(), cfg, host.Options{Version: "1", Functions: map[string]host.Function{
		"work": func(context.Context, *kernel.NodeCall) (kernel.Value, error) { return answer, nil },
	}})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close(b.Context())
	for name, cache := range map[string]string{"no-cache": "false", "hit": "true"} {
		file := s.path(name + ".yaml")
		text := "kind: Pipeline\nmetadata: {name: p}\nspec:\n  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: work, cache: " + cache + "}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		p, err := h.Load(b.Context(), file, host.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			input := map[string]any{"a": 1}
			p.Run(b.Context(), input, host.RunOptions{})
			b.ReportAllocs()
			for b.Loop() {
				if r := p.Run(b.Context(), input, host.RunOptions{}); r.Err != nil || (r.Cached != nil) != (cache == "true") {
					b.Fatal(r.Err, r.Cached)
				}
			}
		})
	}
	file := s.path("answer.json")
	text, err := kernel.EncodeJSON(answer)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Run("read-a-file", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			text, err := os.ReadFile(file)
			if err != nil || sha256.Sum256(text) == [32]byte{} {
				b.Fatal(err)
			}
			if _, err := kernel.DecodeJSON(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
