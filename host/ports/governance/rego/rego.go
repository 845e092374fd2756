// Package rego is a backend of governance: policies in Rego, compiled to
// WebAssembly. A policy's answer is a document,
//
//	{"effect": "allow", "reasons": [{"id": "...", "msg": "..."}], "obligations": [...], "ttl_s": 60}
//
// of which all but the effect may be left out.
package rego

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
)

// Entrypoint is the rule that decides unless another is named.
const Entrypoint = "hexdag/authz/decision"

// Driver decides by an entrypoint of a policy.
type Driver struct {
	policy     *policy.Policy
	entrypoint string
}

// New returns a driver on p, which stays the caller's to close. An empty
// entrypoint is Entrypoint.
func New(p *policy.Policy, entrypoint string) (*Driver, error) {
	if entrypoint == "" {
		entrypoint = Entrypoint
	}
	if !slices.Contains(p.Entrypoints(), entrypoint) {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "the policy has no entrypoint " + kernel.Quote(entrypoint),
			Why: "it has " + strings.Join(p.Entrypoints(), ", "), Fix: "mark the rule that decides with entrypoint: true, or configure another"}
	}
	return &Driver{policy: p, entrypoint: entrypoint}, nil
}

// Authorize evaluates the policy with the request as its input.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	v, defined, err := d.policy.Eval(ctx, d.entrypoint, req)
	if err != nil || !defined {
		return kernel.Decision{}, err
	}
	decision, err := driver.ReadDecision(v)
	if err != nil {
		return kernel.Decision{}, fmt.Errorf("the policy's decision cannot be read: %w", err)
	}
	return decision, nil
}

// Revision is the digest of the compiled policy and its data.
func (d *Driver) Revision() string { return d.policy.Digest() }
