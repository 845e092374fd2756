// Package portcall makes a module one that does the operations of a port. Importing it is what exports port_call.
package portcall

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.OperationFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.OperationFunc) { handler = f }

//go:wasmexport port_call
func export(uint32) uint64 { return handler.Serve() }
