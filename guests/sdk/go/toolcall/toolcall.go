// Package toolcall makes a module a set of tools. Importing it is what exports tool_call.
package toolcall

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.ToolFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.ToolFunc) { handler = f }

//go:wasmexport tool_call
func export(uint32) uint64 { return handler.Serve() }
