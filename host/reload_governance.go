package host

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/extension/policy/signing"
	"github.com/hexdag/hexdag/host/kernel"
)

// PolicyPatch changes a policy's data in one place.
type PolicyPatch = policy.Patch

// ReloadGovernance has the files that the configuration of governance names read again:
// roles, rules, and policies with their data. Decisions under way are the old rules', later
// ones the new rules', each wholly, and none waits. What cannot be used is refused, and the
// old rules go on. It reports whether there was a change; both are on record. Decisions that
// were kept and approvals that were given are the old rules', and do not hold under the new.
func (h *Host) ReloadGovernance(ctx context.Context) (changed bool, err error) {
	h.governing.changing.Lock()
	defer h.governing.changing.Unlock()
	return h.governing.change("policy.reload", deciding{ctx: ctx, keep: func(string) bool { return false }})
}

// PatchPolicy changes the data of a policy in Rego that decides, in order, all or none; else it
// is as ReloadGovernance, after which the files count again. The name is that which the configuration
// gives the policy within all_of or shadow, as "platform" or "live/platform"; "" will do where there is
// but one. A policy that has to be signed takes signed patches alone, by PatchPolicyFile.
func (h *Host) PatchPolicy(ctx context.Context, name string, patches []PolicyPatch) error {
	return h.governing.patch(ctx, name, patches, func(key string) error {
		if key == "" {
			return nil
		}
		return &kernel.Error{Code: kernel.CodePolicy, What: "the patches of the policy's data are not signed", Why: "the configuration has the policy signed with " + kernel.Quote(key), Fix: "sign a delta bundle with hexdag policy sign, and give its file"}
	})
}

// PatchPolicyFile is PatchPolicy for a file: one of OPA's delta bundles, or the document
// {"data": [{"op", "path", "value"}]} that is in one.
func (h *Host) PatchPolicyFile(ctx context.Context, name, file string) error {
	raw, err := readSmall(file)
	if err != nil {
		return err
	}
	patches, err := policy.ReadPatches(file, raw)
	if err != nil {
		return err
	}
	return h.governing.patch(ctx, name, patches, func(key string) error {
		if key == "" {
			return nil
		}
		pem, err := readSmall(key)
		if err != nil {
			return err
		}
		return signing.Verify(file, raw, pem)
	})
}

// patch changes a policy's data, unless check, given the key of the policy's, refuses.
func (g *governing) patch(ctx context.Context, name string, patches []PolicyPatch, check func(key string) error) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	name, err := g.rego(name)
	if err != nil {
		return err
	}
	if err := check(g.tree.nodes[name].key); err != nil {
		return g.refused(ctx, "policy.patch", err)
	}
	_, err = g.change("policy.patch", deciding{
		ctx:   ctx,
		keep:  func(other string) bool { return !partOf(name, other) },
		patch: func(p *policy.Policy) (*policy.Policy, error) { return p.WithPatches(ctx, patches) },
	})
	return err
}

// rego returns the name of a policy in Rego, of the only one if it is "".
func (g *governing) rego(name string) (string, error) {
	if g.tree == nil {
		return "", closedHost()
	}
	var names []string
	for _, known := range slices.Sorted(maps.Keys(g.tree.nodes)) {
		if g.tree.nodes[known].policy != nil {
			names = append(names, known)
		}
	}
	if name == "" && len(names) == 1 {
		return names[0], nil
	}
	if !slices.Contains(names, name) {
		return "", &kernel.Error{Code: kernel.CodeNotFound, What: "there is no policy in Rego " + kernel.Quote(name), Where: g.spec.Where, Why: "governance has " + orElse(strings.Join(names, ", "), "none"), Fix: "name one of these"}
	}
	return name, nil
}

func closedHost() error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: "the host is closed"}
}

// change opens the backends anew, but for those to keep, and has them decide. The caller
// has the lock of changes.
func (g *governing) change(action string, o deciding) (changed bool, err error) {
	if g.tree == nil {
		return false, closedHost()
	}
	old, before := g.tree, g.port.Revision()
	o.old = old
	tree, err := g.open(o)
	if err != nil {
		return false, g.refused(o.ctx, action, err)
	}
	replaced := tree.changed(old)
	if len(replaced) == 0 {
		return false, g.release(tree)
	}
	h := g.host
	admitted := &kernel.AuditRecord{Kind: "policy", Principal: h.principal(), Tenant: h.tenant(), Action: action, Effect: kernel.Allow, Revision: tree.nodes[""].revision(),
		Detail: "takes the place of " + orElse(before, "rules without a revision")}
	if replaced = slices.DeleteFunc(replaced, func(name string) bool { return name == "" }); len(replaced) > 0 {
		admitted.Detail += "; what changed: " + strings.Join(replaced, ", ")
	}
	if err := h.audit.Audit(o.ctx, admitted); err != nil {
		return false, errors.Join(err, g.release(tree))
	}
	g.tree = tree
	g.retired.Add(1)
	g.port.Replace(tree.root, func() {
		go func() { // whoever asked the last question does not wait for it
			defer g.retired.Done()
			if err := g.release(old); err != nil {
				h.log.Warn("rules that were replaced cannot be closed", "error", err)
			}
		}()
	})
	return true, nil
}

// refused records that rules were not replaced, and why.
func (g *governing) refused(ctx context.Context, action string, why error) error {
	h := g.host
	return errors.Join(why, h.audit.Audit(ctx, &kernel.AuditRecord{Kind: "policy", Principal: h.principal(), Tenant: h.tenant(), Action: action, Effect: kernel.Forbid,
		Result: string(kernel.CodeOf(why)), Revision: g.port.Revision(), Detail: kernel.Quote(why.Error())}))
}
