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

// Reader is a driver that knows what its rules look at. Where none looks at what
// changes from call to call, a decision that is kept serves the next call, too.
type Reader interface {
	Reads() Reads
}

// Reads says what of the circumstances of a request rules look at, or may.
type Reads struct {
	Usage bool // what the run has used so far
	Run   bool // which run it is
}

// ReadsOf returns what d's rules look at: everything, where d does not know.
func ReadsOf(d Driver) Reads {
	if r, ok := d.(Reader); ok {
		return r.Reads()
	}
	return Reads{Usage: true, Run: true}
}

// Or is what either looks at.
func (r Reads) Or(other Reads) Reads {
	return Reads{Usage: r.Usage || other.Usage, Run: r.Run || other.Run}
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
