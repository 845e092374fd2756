// Package kerneltest has what tests of ports need of the kernel.
package kerneltest

import (
	"context"

	"github.com/hexdag/hexdag/host/kernel"
)

// Under returns the context of a run of a tenant that holds a lock with this token, as far as it knows: a
// holder that was paused does not know better.
func Under(ctx context.Context, tenant, run, lock string, token uint64) context.Context {
	return under(ctx, tenant, run, &lease{name: lock, token: token, valid: true})
}

// UnderLost is Under for a run that knows that its lock is lost.
func UnderLost(ctx context.Context, tenant, run, lock string) context.Context {
	return under(ctx, tenant, run, &lease{name: lock, token: 1})
}

func under(ctx context.Context, tenant, run string, l *lease) context.Context {
	r := &kernel.RunContext{RunID: run, Tenant: tenant}
	r.Leases.Add("", l, 1)
	return kernel.WithRun(ctx, r)
}

type lease struct {
	name  string
	token uint64
	valid bool
}

func (l *lease) ID() string                    { return l.name }
func (l *lease) Name() string                  { return l.name }
func (l *lease) Fence() kernel.Fence           { return kernel.Fence{Lock: "test/" + l.name, Token: l.token} }
func (l *lease) Valid() bool                   { return l.valid }
func (l *lease) Release(context.Context) error { return nil }

func (l *lease) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}
