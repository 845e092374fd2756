// Package portafter makes a module a hook that runs after calls of ports. Importing it is what exports port_after.
package portafter

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.PortFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.PortFunc) { handler = f }

//go:wasmexport port_after
func export(uint32) uint64 { return handler.Serve() }
