// The plugin of the test: what people write with Extism's own PDK for Go.
package main

import (
	"fmt"

	"github.com/extism/go-pdk"
)

// tool_call says what it has been given and what it remembers.
//
//go:wasmexport tool_call
func toolCall() int32 {
	var message struct {
		Args map[string]any `json:"args"`
	}
	if err := pdk.InputJSON(&message); err != nil {
		pdk.SetError(err)
		return 1
	}
	count := pdk.GetVarInt("count") + 1
	pdk.SetVarInt("count", count)
	greeting, known := pdk.GetConfig("greeting")
	size, _ := pdk.GetConfig("size")
	_, missing := pdk.GetConfig("missing")
	pdk.Log(pdk.LogInfo, fmt.Sprintf("call %d", count))
	pdk.Log(pdk.LogDebug, "more")
	if err := pdk.OutputJSON(map[string]any{
		"args": message.Args, "count": count, "greeting": greeting, "known": known, "size": size, "missing": missing,
	}); err != nil {
		pdk.SetError(err)
		return 1
	}
	return 0
}

// A hook: what is refused, what is patched.
//
//go:wasmexport node_before
func nodeBefore() int32 {
	var message struct {
		Input struct {
			Text string `json:"text"`
		} `json:"input"`
	}
	if err := pdk.InputJSON(&message); err != nil {
		pdk.SetError(err)
		return 1
	}
	verdict := map[string]any{"verdict": "continue"}
	switch message.Input.Text {
	case "secret":
		verdict = map[string]any{"verdict": "deny", "reason": "it is secret", "code": "secret"}
	case "later":
		verdict = map[string]any{"verdict": "retry_after", "retry_ms": 250}
	case "bad":
		pdk.SetErrorString("bad input")
		return 1
	case "long":
		verdict = map[string]any{"verdict": "replace", "patch": map[string]any{"text": "short"}}
	}
	if err := pdk.OutputJSON(verdict); err != nil {
		pdk.SetError(err)
		return 1
	}
	return 0
}

// fetch asks for what no plugin is granted.
//
//go:wasmexport fetch
func fetch() int32 {
	reply := pdk.NewHTTPRequest(pdk.MethodGet, "http://169.254.169.254/").Send()
	if err := pdk.OutputJSON(map[string]any{"status": reply.Status(), "headers": len(reply.Headers())}); err != nil {
		return 1
	}
	return 0
}

//go:wasmimport extism:host/user hexdag_call
func hexdagCall(op, args uint64) uint64

// port_call goes through the host's one door.
//
//go:wasmexport port_call
func portCall() int32 {
	op, args := pdk.AllocateString("database.query"), pdk.AllocateString(`{"sql":"select 1"}`)
	reply := pdk.FindMemory(hexdagCall(op.Offset(), args.Offset()))
	pdk.OutputMemory(reply)
	return 0
}

func main() {}
