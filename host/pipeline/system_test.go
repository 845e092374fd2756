package pipeline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// folder writes files by name and returns the path of one of them.
func folder(t *testing.T, files map[string]string) func(name string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func(name string) string { return filepath.Join(dir, name) }
}

// wantProblem checks an error's code and that it says all the words.
func wantProblem(t *testing.T, err error, code kernel.Code, words ...string) {
	t.Helper()
	if kernel.CodeOf(err) != code {
		t.Errorf("code %q, want %q: %v", kernel.CodeOf(err), code, err)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v does not say %q", err, word)
		}
	}
}

// What a system and a body name is a pipeline: a system in it would lead round in
// circles that nothing ends.
func TestSystemInASystem(t *testing.T) {
	at := folder(t, map[string]string{
		"self.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: self.yaml}]}\n",
		"a.yaml":    "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: b.yaml}]}\n",
		"b.yaml":    "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: a.yaml}]}\n",
		"body.yaml": "kind: System\nmetadata: {name: s}\nspec: {processes: [{name: a, pipeline: p.yaml}]}\n",
		"p.yaml":    spec("    - {kind: composite_node, metadata: {name: c}, spec: {mode: times, count: 1, body_pipeline: body.yaml}}\n"),
	})
	for _, name := range []string{"self.yaml", "a.yaml", "body.yaml", "p.yaml"} {
		_, err := Read(at(name), Options{})
		wantProblem(t, err, kernel.CodePipeline, "holds a system, not a pipeline", ".yaml")
	}
}
