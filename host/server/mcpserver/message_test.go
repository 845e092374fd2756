package mcpserver

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// FuzzDecode: a message is read as the library reads it.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`, `{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"x","arguments":{"a":[1, 2.50, "\u00e4"]}}}`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`, `{"jsonrpc":"2.0","id":null,"method":"x","params":null}`, `{"jsonrpc":"2.0","id":1,"method":null}`,
		`{"jsonrpc":"2.0","id":1,"method":""}`, `{"jsonrpc":"2.0","id":1,"method":7}`, `{"jsonrpc":"2.0","id":1.5,"method":"x"}`, `{"jsonrpc":"2.0","id":-9007199254740993,"method":"x"}`,
		`{"jsonrpc":"2.0","id":true,"method":"x"}`, `{"jsonrpc":"2.0","id":{"a":1},"method":"x"}`, `{"jsonrpc":"2.0","id":[],"method":"x"}`, `{"jsonrpc":"2.0","id":1}`,
		`{"jsonrpc":"2.0","id":1,"result":{"a":null}}`, `{"jsonrpc":"2.0","id":1,"result":null,"error":null}`, `{"jsonrpc":"2.0","result":{}}`, `{"jsonrpc":"2.0","id":null,"result":{}}`,
		`{"jsonrpc":"2.0","id":"b","error":{"code":-32000,"message":"no","data":{"why":[1]}}}`, `{"jsonrpc":"2.0","id":1,"error":"no"}`, `{"jsonrpc":"2.0","id":1,"error":{"code":"x"}}`,
		`{"JSONRPC":"2.0","ID":1,"Method":"x"}`, `{"jsonrpc":"2.0","id":1,"Method":"x"}`, `{"jsonrpc":"2.0","id":1,"method":"a","METHOD":"b","method":"c","id":2}`,
		`{"json\u0072pc":"2.0","id":1,"method":"x"}`, `{"jsonrpc":2.0,"id":1,"method":"x"}`, `{"jsonrpc":null,"id":1,"method":"x"}`, `{"id":1,"method":"x"}`, `null`, `17`, `"x"`, `{}`, `[]`, `{`, ``,
		`{"jsonrpc":"2.0","id":"\ud800","method":"\ud800\n","params":"\ud800"}`, "{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"\xff\"}", ` { "jsonrpc" : "2.0" , "id" : 1 , "method" : "x" , "params" : [ 1 ] } `,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decode(text)
		want, wantErr := jsonrpc.DecodeMessage(text)
		if !json.Valid(text) {
			if err == nil {
				t.Fatalf("%q is a message: %+v", text, got)
			}
			return
		}
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("%q: %v, the library has %v", text, err, wantErr)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(jsonrpc.ID{})); err == nil && diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
}
