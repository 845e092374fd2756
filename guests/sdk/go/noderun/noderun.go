// Package noderun makes a module the body of a node. Importing it is what exports node_run.
package noderun

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.NodeFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.NodeFunc) { handler = f }

//go:wasmexport node_run
func export(uint32) uint64 { return handler.Serve() }
