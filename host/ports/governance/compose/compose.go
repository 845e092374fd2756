// Package compose makes one backend of governance of several. Each has to allow: what
// one denies, or has no answer to, is denied, and what one wants approved needs the
// approval. So whoever is added - a tenant's own rules beside the platform's - can only
// narrow what the others allow.
package compose

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Member is one of the backends.
type Member struct {
	driver.Driver
	// Name is what errors and revisions call it.
	Name string
	// Tenants are patterns of the tenants whose requests it is asked about; none is
	// every tenant.
	Tenants []string
}

// Driver asks all of its members.
type Driver struct {
	members  []Member
	reads    driver.Reads
	auditors []driver.Auditor
}

// New returns a driver on members, in the order in which they are asked. At least one
// of them is for every tenant: a tenant without rules would else be denied everything
// by having none, or allowed it by a member that was meant for another.
func New(members ...Member) (*Driver, error) {
	d := &Driver{members: members}
	if !slices.ContainsFunc(members, func(m Member) bool { return len(m.Tenants) == 0 }) {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "no policy is for every tenant", Why: fmt.Sprintf("of %d, all name tenants", len(members)), Fix: "add the platform's, without tenants: it says the most that any tenant may do"}
	}
	for _, m := range members {
		d.reads = d.reads.Or(driver.ReadsOf(m.Driver))
		if a, ok := m.Driver.(driver.Auditor); ok {
			d.auditors = append(d.auditors, a)
		}
	}
	return d, nil
}

// Authorize asks the members until one denies. All that they oblige to holds.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	var all kernel.Decision
	first := true
	for i := range d.members {
		m := &d.members[i]
		if !m.speaksFor(req.Subject.Tenant) {
			continue
		}
		answer, err := m.Authorize(ctx, req)
		if err != nil {
			return kernel.Decision{}, fmt.Errorf("%s: %w", m.Name, err)
		}
		switch answer.Effect {
		case kernel.Allow, kernel.Approve:
		case "":
			return kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: "hexdag.governance.undefined", Msg: "no rule of " + m.Name + " had an answer"}}}, nil
		default:
			return answer, nil // a denial, or what the port takes for one
		}
		if first {
			all, first = answer, false
		} else {
			all = both(all, answer)
		}
	}
	return all, nil
}

// both is two decisions, neither of which denies, taken together. It holds for as long
// as the shorter of them.
func both(a, b kernel.Decision) kernel.Decision {
	d := kernel.Decision{Effect: a.Effect, Reasons: slices.Concat(a.Reasons, b.Reasons), Obligations: slices.Clip(a.Obligations), TTLSeconds: min(a.TTLSeconds, b.TTLSeconds)}
	if b.Effect == kernel.Approve {
		d.Effect = kernel.Approve
	}
	for _, o := range b.Obligations {
		if !slices.ContainsFunc(d.Obligations, func(known map[string]any) bool { return reflect.DeepEqual(known, o) }) {
			d.Obligations = append(d.Obligations, o)
		}
	}
	return d
}

func (m *Member) speaksFor(tenant string) bool {
	return len(m.Tenants) == 0 || slices.ContainsFunc(m.Tenants, func(pattern string) bool { return abi.Match(pattern, tenant) })
}

// Revision is of all members together; "" while one of them cannot tell.
func (d *Driver) Revision() string {
	h := sha256.New()
	for i := range d.members {
		r, ok := d.members[i].Driver.(driver.Revisioner)
		if !ok {
			return ""
		}
		revision := r.Revision()
		if revision == "" {
			return ""
		}
		fmt.Fprintf(h, "%q %q %q\n", d.members[i].Name, d.members[i].Tenants, revision)
	}
	return "all_of:" + hex.EncodeToString(h.Sum(nil))
}

// Reads returns what any member looks at.
func (d *Driver) Reads() driver.Reads { return d.reads }

// Audit shows a record to every member that looks at them.
func (d *Driver) Audit(ctx context.Context, record *kernel.AuditRecord) error {
	var problems []error
	for _, a := range d.auditors {
		problems = append(problems, a.Audit(ctx, record))
	}
	return errors.Join(problems...)
}
