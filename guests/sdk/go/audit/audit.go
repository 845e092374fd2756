// Package audit makes a module one that sees audit records before they are written, and can refuse them. Importing it is what exports audit.
package audit

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.GovernanceFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.GovernanceFunc) { handler = f }

//go:wasmexport audit
func export(uint32) uint64 { return handler.Serve() }
