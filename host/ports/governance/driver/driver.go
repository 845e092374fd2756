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
// never turns one into Allow. Decisions are not changed once they are returned.
//
// What a driver can do besides, it says by the other interfaces here.
type Driver interface {
	Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error)
}

// Revisioner is a driver that can name its rules and data: another revision where
// either differs. Only its decisions are kept for their time to live. While it
// returns "", it cannot tell.
type Revisioner interface {
	Revision() string
}

// UsageReader is a driver that knows whether its rules look at what a run has used
// so far. That changes with every call; where no rule looks at it, a decision that
// is kept serves the next call, too.
type UsageReader interface {
	ReadsUsage() bool
}

// Lister is a driver that can say of all actions and resources at once what a
// subject may do, as patterns: what it allows is what one that allows or approves
// covers, and none that forbids. It returns false where it cannot, for this
// subject or at all; then the port asks about each action and resource in turn.
type Lister interface {
	ListPermissions(ctx context.Context, subject *kernel.Subject, scope *kernel.Scope) (list []kernel.Permission, complete bool, err error)
}

// Auditor is a driver that is shown every record before it is written. What it
// returns an error for must not happen.
type Auditor interface {
	Audit(ctx context.Context, record *kernel.AuditRecord) error
}
