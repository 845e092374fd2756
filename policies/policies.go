// Package policies holds the stock library of policies, in Rego. Whatever is
// compiled with regoc can import it, as data.hexdag.ports for example.
package policies

import "embed"

// Library has the policies and their tests, by package.
//
//go:embed hexdag
var Library embed.FS
