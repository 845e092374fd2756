// Package nodebefore makes a module a hook that runs before nodes. Importing it is what exports node_before.
package nodebefore

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.NodeFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.NodeFunc) { handler = f }

//go:wasmexport node_before
func export(uint32) uint64 { return handler.Serve() }
