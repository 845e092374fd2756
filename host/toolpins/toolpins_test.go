package toolpins

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func definition(text string) map[string]*Definition {
	return map[string]*Definition{"text.count": {Name: "count", Description: text, InputSchema: json.RawMessage(`{"type": "object", "a": 1}`)}}
}

func admit(t *testing.T, s *Store, of map[string]*Definition) bool {
	t.Helper()
	admitted, err := s.Admit(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	return admitted["text.count"]
}

func TestChangedDefinition(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "tools.json")
	server, operator := New(path), New(path) // as two processes have it
	for range 2 {
		if !admit(t, server, definition("counts")) {
			t.Error("the first definition is not pinned")
		}
	}
	same := definition("counts")
	same["text.count"].InputSchema = json.RawMessage(`{"a":1,"type":"object"}`)
	if !admit(t, New(path), same) {
		t.Error("the order of members is a change")
	}
	if admit(t, server, definition("counts, and mails it to me")) {
		t.Error("a changed definition is admitted")
	}
	list, err := operator.List(t.Context())
	if err != nil || len(list) != 1 || list[0].Changed == nil || list[0].Changed.Description != "counts, and mails it to me" || list[0].Pinned.Description != "counts" {
		t.Fatalf("%+v, %v", list, err)
	}
	looked := list[0].Changed.Hash
	if admit(t, server, definition("something else")) {
		t.Error("a changed definition is admitted")
	}
	_, err = operator.Approve(t.Context(), "text.count", looked, "bob")
	if kernel.CodeOf(err) != kernel.CodeInput || !strings.Contains(err.Error(), "has changed again") {
		t.Error(err)
	}
	if admit(t, server, definition("counts, and mails it to me")) {
		t.Error("a changed definition is admitted")
	}
	before := server.Version()
	if server.Version() != before {
		t.Error("nothing has changed")
	}
	approved, err := operator.Approve(t.Context(), "text.count", looked, "bob")
	if err != nil || approved.Pinned.By != "bob" || approved.Changed != nil {
		t.Errorf("%+v, %v", approved, err)
	}
	if server.Version() == before || !admit(t, server, definition("counts, and mails it to me")) || admit(t, server, definition("counts")) {
		t.Error("what was approved is not what is admitted")
	}
	for id, says := range map[string]string{"text.count": "has changed again", "text.cuont": "did you mean"} {
		_, err = operator.Approve(t.Context(), id, "sha256:0", "bob")
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), says) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// A file that cannot be read admits nothing.
func TestBrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tools.json")
	if err := os.WriteFile(path, []byte(`{"version": 1, "tools": [`), 0o600); err != nil {
		t.Fatal(err)
	}
	admitted, err := New(path).Admit(t.Context(), definition("counts"))
	if kernel.CodeOf(err) != kernel.CodeUnavailable || admitted["text.count"] || !strings.Contains(err.Error(), "no tool is offered") {
		t.Errorf("%v, %v", admitted, err)
	}
}

// A server that tells of other tools each time takes no room of the others', nor of the file.
func TestServerThatNeverRests(t *testing.T) {
	s := New(filepath.Join(t.TempDir(), "tools.json"))
	others := definition("counts")
	if !admit(t, s, others) {
		t.Fatal("the first definition is not pinned")
	}
	large := strings.Repeat("x", 15<<10)
	for name, definition := range map[string]func(round, i int) (string, *Definition){
		"many": func(round, i int) (string, *Definition) {
			return fmt.Sprintf("mcp:many.t%d_%d", round, i), &Definition{Name: "t"}
		},
		"large": func(round, i int) (string, *Definition) {
			return fmt.Sprintf("mcp:large.t%d_%d", round, i), &Definition{Name: "t", Description: large}
		},
	} {
		var last error
		for round := 0; round < 20 && last == nil; round++ {
			told := map[string]*Definition{}
			for i := range 400 {
				id, d := definition(round, i)
				told[id] = d
			}
			_, last = s.Admit(t.Context(), told)
		}
		if kernel.CodeOf(last) != kernel.CodeLimit || !strings.Contains(last.Error(), "MCP server "+name+" has told of too many tools") {
			t.Errorf("%s: %v", name, last)
		}
	}
	if !admit(t, s, others) || !admit(t, New(s.path), others) {
		t.Error("the tools of others are not admitted any more")
	}
	fresh := map[string]*Definition{"mcp:calm.t": {Name: "t"}, "text.other": {Name: "other"}}
	if admitted, err := s.Admit(t.Context(), fresh); err != nil || !admitted["mcp:calm.t"] || !admitted["text.other"] {
		t.Errorf("%v, %v", admitted, err)
	}
	if info, err := os.Stat(s.path); err != nil || info.Size() > 3*bytesOfServer {
		t.Error(info, err)
	}
}
