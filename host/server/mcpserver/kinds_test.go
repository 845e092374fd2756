package mcpserver

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestKindsTold: capabilities that come with a request are read as the library reads them.
func TestKindsTold(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"elicitation":null,"sampling":null,"roots":null}`, `{"elicitation":{}}`, `{"elicitation":{"form":{}}}`, `{"elicitation":{"url":{}}}`, `{"elicitation":{"url":{},"form":{}}}`,
		`{"elicitation":{"url":{},"form":null}}`, `{"elicitation":{"url":null}}`, `{"elicitation":{"URL":{}}}`, `{"elicitation":{"other":{}}}`, `{"Elicitation":{},"SAMPLING":{},"Roots":{}}`,
		`{"sampling":{}}`, `{"sampling":{"tools":{},"context":{}}}`, `{"roots":{}}`, `{"roots":{"listChanged":true}}`, `{"roots":{"listChanged":false},"sampling":{},"elicitation":{"form":{}},"experimental":{"a":1}}`,
	} {
		var caps map[string]any
		if err := json.Unmarshal([]byte(text), &caps); err != nil {
			t.Fatal(err)
		}
		req := &mcp.CallToolRequest{Params: &mcp.CallToolParamsRaw{Meta: mcp.Meta{mcp.MetaKeyProtocolVersion: sinceRounds, mcp.MetaKeyClientCapabilities: caps}}}
		library := req.ClientCapabilities()
		if library == nil {
			t.Fatalf("the library takes no %s", text)
		}
		if got, want := kindsTold(caps), kindsOf(library); !slices.Equal(got, want) {
			t.Errorf("%s: %q, the library has %q", text, got, want)
		}
		if c := clientOf(req); slices.ContainsFunc(kindsOf(library), func(kind string) bool { return !c.Takes(kind) }) {
			t.Errorf("%s: the client takes less than it told", text)
		}
	}
}
