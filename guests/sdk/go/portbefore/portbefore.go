// Package portbefore makes a module a hook that runs before calls of ports. Importing it is what exports port_before.
package portbefore

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.PortFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.PortFunc) { handler = f }

//go:wasmexport port_before
func export(uint32) uint64 { return handler.Serve() }
