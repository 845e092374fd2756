package host_test

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
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

// BenchmarkArtifactThroughABI runs a node in a module that stores 1 KB in memory, beside one that makes a call that does nothing
// much, and beside the store alone.
func BenchmarkArtifactThroughABI(b *testing.B) {
	s := site{b.TempDir()}
	box, err := filepath.Abs("enforcement/toolbox/toolbox.wasm")
	if err != nil {
		b.Fatal(err)
	}
	text := strings.Repeat("x", 1000)
	module := func(name, call string) string {
		return "    " + name + ": {path: " + box + ", grants: " + grantsOfBox + ", config: {tools: {node: {calls: [" + call + "]}}}}\n"
	}
	config := "kind: Config\nmetadata: {name: bench}\nspec:\n  state: " + b.TempDir() + "\n  ports: {artifacts: {adapter: memory}}\n  modules:\n" +
		module("store", `{op: artifacts.store, head: {name: x, value: "`+text+`"}}`) + module("count", `{op: metrics.count, head: {name: `+text[:60]+`}}`)
	if err := os.WriteFile(s.path("hexdag.yaml"), []byte(config), 0o600); err != nil {
		b.Fatal(err)
	}
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	h, err := host.New(b.Context(), cfg, host.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close(b.Context())
	for _, fn := range []string{"count", "store"} {
		file := s.path(fn + ".yaml")
		if err := os.WriteFile(file, []byte("kind: Pipeline\nmetadata: {name: p}\nspec:\n  nodes:\n    - {kind: function_node, metadata: {name: n}, spec: {fn: "+fn+"}}\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		p, err := h.Load(b.Context(), file, host.LoadOptions{})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("module/"+fn, func(b *testing.B) {
			for b.Loop() {
				if r := p.Run(b.Context(), nil, host.RunOptions{}); r.Err != nil {
					b.Fatal(r.Err)
				}
			}
		})
	}
	store := artifacts.New(memartifacts.NewBucket(), artifacts.Options{})
	b.Run("backend", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			if _, err := store.Store(b.Context(), strconv.Itoa(n), "x", strings.NewReader(text), artifacts.StoreOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
