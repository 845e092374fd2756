// Package authorize makes a module one that decides whether something may be done. Importing it is what exports authorize.
package authorize

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.GovernanceFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.GovernanceFunc) { handler = f }

//go:wasmexport authorize
func export(uint32) uint64 { return handler.Serve() }
