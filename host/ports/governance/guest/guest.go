// Package guest is a backend of governance: a module that exports authorize. If it
// exports audit, it sees every record and can refuse it; if it exports permissions, it
// tells what a subject may do.
//
// Authorize gives the decision as its output, as driver.ReadDecision has it; a module
// that gives none has no answer, and the verdict deny is a denial with its reason.
// Whatever else ends the call - a trap, a deadline, the fuel - is an error.
package guest

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Driver decides by a module.
type Driver struct{ module *extension.Module }

// New returns a driver on m, which stays the caller's to close.
func New(m *extension.Module) (*Driver, error) {
	if !m.Has(abi.Authorize) {
		return nil, &kernel.Error{Code: kernel.CodeModuleExport, Where: kernel.Where{Module: m.ID()}, What: "module " + kernel.Quote(m.Name()) + " cannot decide", Why: fmt.Sprintf("it exports no authorize; its extension points are %v", m.Points()),
			Fix: "export the function, or name another module"}
	}
	return &Driver{module: m}, nil
}

// Authorize has the module decide.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	v, defined, err := d.module.Authorize(ctx, req)
	var refused *kernel.Error
	if errors.As(err, &refused) && refused.Code == kernel.CodeDenied {
		return kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "module:" + d.module.Name(), Msg: refused.Why}}}, nil
	}
	if err != nil || !defined {
		return kernel.Decision{}, err
	}
	decision, err := driver.ReadDecision(v)
	if err != nil {
		return kernel.Decision{}, fmt.Errorf("the module's decision cannot be read: %w", err)
	}
	return decision, nil
}

// Revision is the digest of the module's bytes as they are now. A run goes on with
// those that it began with, so what is decided for it can be of an older one.
func (d *Driver) Revision() string { return d.module.Digest() }

// Audit shows the module a record, if it looks at them.
func (d *Driver) Audit(ctx context.Context, record *kernel.AuditRecord) error {
	if !d.module.Has(abi.Audit) {
		return nil
	}
	return d.module.Audit(ctx, record)
}

// maxPermissions bounds what a module can list.
const maxPermissions = 10_000

// ListPermissions asks the module, if it tells.
func (d *Driver) ListPermissions(ctx context.Context, subject *kernel.Subject, scope *kernel.Scope) ([]kernel.Permission, bool, error) {
	if !d.module.Has(abi.Permissions) {
		return nil, false, nil
	}
	v, defined, err := d.module.Permissions(ctx, subject, scope)
	if err != nil || !defined {
		return nil, false, err
	}
	var answer struct {
		Permissions []kernel.Permission `json:"permissions"`
	}
	if err := kernel.FromValue(v, &answer); err != nil {
		return nil, false, fmt.Errorf("the module's permissions cannot be read: %w", err)
	}
	if len(answer.Permissions) > maxPermissions {
		return nil, false, fmt.Errorf("the module lists %d permissions; the limit is %d", len(answer.Permissions), maxPermissions)
	}
	for _, may := range answer.Permissions {
		if may.Effect != kernel.Allow && may.Effect != kernel.Approve && may.Effect != kernel.Forbid {
			return nil, false, fmt.Errorf("the module lists the effect %s; there are allow, deny and approve", kernel.Quote(string(may.Effect)))
		}
	}
	return answer.Permissions, true, nil
}
