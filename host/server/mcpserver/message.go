package mcpserver

import (
	"encoding/json"
	"errors"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

var errNoMessage = errors.New("the text is no message of JSON-RPC 2.0")

// decode reads a message as the library does, names of members to the letter, but without the buffers of 32 KiB that the library makes anew for
// each text that it reads: two for a request. Behind the message there is nothing else.
func decode(text []byte) (jsonrpc.Message, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	var version string
	var rawID any
	if read(members["jsonrpc"], &version) != nil || version != "2.0" || read(members["id"], &rawID) != nil {
		return nil, errNoMessage
	}
	id, err := jsonrpc.MakeID(rawID)
	if err != nil {
		return nil, err
	}
	if method, isRequest := members["method"]; isRequest {
		req := &jsonrpc.Request{ID: id, Params: members["params"]}
		if err := read(method, &req.Method); err != nil {
			return nil, err
		}
		return req, nil
	}
	if !id.IsValid() {
		return nil, errNoMessage
	}
	answer := &jsonrpc.Response{ID: id, Result: members["result"]}
	var failed *jsonrpc.Error
	if err := read(members["error"], &failed); err != nil {
		return nil, err
	}
	if failed != nil { // else it would be an error that is nil
		answer.Error = failed
	}
	return answer, nil
}

// read reads a member, if it is there.
func read(text json.RawMessage, into any) error {
	if text == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}
