package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/kernel"
)

// TenantLimits bounds what the calls of one tenant take together, over all
// modules of a runtime. The zero value of a field means the default.
type TenantLimits struct {
	Instances int // calls at once; further ones wait
	Waiting   int // calls that may wait; further ones are refused
}

// DefaultTenantLimits are the limits of a tenant for which nothing else is said.
func DefaultTenantLimits() TenantLimits { return TenantLimits{Instances: 128, Waiting: 2048} }

// Or returns l with what is not set taken from d.
func (l TenantLimits) Or(d TenantLimits) TenantLimits {
	or(&l.Instances, d.Instances)
	or(&l.Waiting, d.Waiting)
	return l
}

// tenants has a gate for every tenant that has called; an operator has few.
type tenants struct {
	limits TenantLimits
	gates  sync.Map // of *tenant, by name
	last   atomic.Pointer[tenant]
}

type tenant struct {
	name string
	gate *gate
}

// of returns a tenant's gate.
func (t *tenants) of(name string) *gate {
	if last := t.last.Load(); last != nil && last.name == name {
		return last.gate
	}
	known, ok := t.gates.Load(name)
	if !ok {
		known, _ = t.gates.LoadOrStore(name, &tenant{name: name, gate: newGate(t.limits.Instances, t.limits.Waiting)})
	}
	t.last.Store(known.(*tenant))
	return known.(*tenant).gate
}

// admit lets a call of a tenant in. The tenant waits in a queue of its own, so
// that it takes no place of a module from others meanwhile. A call on behalf of
// a guest that is in already does not wait: its caller would wait for itself.
func (m *Module) admit(ctx context.Context, name string) (*gate, error) {
	g := m.runtime.tenants.of(name)
	err := g.enter(ctx, onBehalfOfAGuest)
	if errors.Is(err, errGateFull) {
		limits := m.runtime.tenants.limits
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "too many calls of tenant " + kernel.Quote(name) + " wait", Where: kernel.Where{Module: m.ID()},
			Why: fmt.Sprintf("tenant_limits.instances is %d, tenant_limits.waiting %d, over all modules, and both are used up", limits.Instances, limits.Waiting), Fix: "raise them, or call less at once"}
	}
	return g, err
}
