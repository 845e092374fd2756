// Package allowall is the default backend of governance: everything is allowed.
package allowall

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Driver allows everything.
type Driver struct{}

// Authorize allows, and says that it always does.
func (Driver) Authorize(context.Context, *kernel.AccessRequest) (kernel.Decision, error) {
	return kernel.Decision{
		Effect:  kernel.Allow,
		Reasons: []kernel.Reason{{ID: "hexdag.governance.allowall", Msg: "no policy is configured"}},
	}, nil
}

// Revision is always the same.
func (Driver) Revision() string { return "allow_all" }

// Reads reports that nothing is looked at.
func (Driver) Reads() driver.Reads { return driver.Reads{} }

// ListPermissions lists everything.
func (Driver) ListPermissions(context.Context, *kernel.Subject, *kernel.Scope) ([]kernel.Permission, bool, error) {
	return []kernel.Permission{{Action: "**", Resource: "**", Effect: kernel.Allow, Rules: []string{"hexdag.governance.allowall"}}}, true, nil
}
