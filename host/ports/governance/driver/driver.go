// Package driver is what a backend of governance implements. Applications use
// package governance.
package driver

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
)

// Driver decides.
//
// It may be called by several goroutines at once. It returns soon after its
// context ends, and keeps or changes nothing of the request. The same request
// gets the same answer as long as the rules and their data are the same, but for
// what depends on time.
//
// The port is what fails closed. A driver may return an empty Effect where no rule
// had an answer, and an error where it could not tell; either is a denial. It
// never turns one into Allow.
type Driver interface {
	Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error)
}
