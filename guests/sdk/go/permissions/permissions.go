// Package permissions makes a module one that tells what a subject may do. Importing it is what exports permissions.
package permissions

import hexdag "github.com/hexdag/hexdag/guests/sdk/go"

var handler hexdag.GovernanceFunc

// Handle registers the handler; call it from init.
func Handle(f hexdag.GovernanceFunc) { handler = f }

//go:wasmexport permissions
func export(uint32) uint64 { return handler.Serve() }
