// Package nodeafter makes a module a hook that runs after nodes. Importing it is what exports node_after.
package nodeafter

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.NodeFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.NodeFunc) { handler = f }

//go:wasmexport node_after
func export(uint32) uint64 { return handler.Serve() }
