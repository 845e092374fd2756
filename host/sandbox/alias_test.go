package sandbox_test

import (
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// What a guest reads after a whole document is not written over the document's
// text, which other calls may share.
func TestReadingAWholeDocumentLeavesItsText(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	value := map[string]any{"args": map[string]any{"a": "xxxxxxxxxxxxxxxx"}}
	text, err := kernel.EncodeJSON(value)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	s := &probe.Script{}
	s.Do(probe.Field, 0, "", free, 0)
	s.Do(probe.Field, 0, "/args/a", free, 64)
	if _, err := m.Call(t.Context(), sandbox.Call{Point: abi.PortBefore, Input: value, Text: text, Body: s.Image()}); err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("the shared text became %s", text)
	}
}
