package governance

import (
	"cmp"
	"slices"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/obligation"
)

const (
	// maxReasons bounds what a policy can put into every record and reply.
	maxReasons = 64
	maxTTL     = 24 * 60 * 60
)

func deny(id, msg string) kernel.Decision {
	return kernel.Decision{Effect: kernel.Forbid, Reasons: []kernel.Reason{{ID: id, Msg: kernel.Quote(msg)}}}
}

// normalise returns a decision that the host can act on: with a known effect and
// known obligations, reasons sorted, safe to show and never nil.
func normalise(d kernel.Decision) kernel.Decision {
	switch d.Effect {
	case kernel.Allow, kernel.Forbid, kernel.Approve:
	case "":
		return deny(ReasonUndefined, "no rule had an answer")
	default:
		return deny(ReasonEffect, "the policy gave the effect "+string(d.Effect)+"; there are allow, deny and approve")
	}
	for _, o := range d.Obligations { // one that the host does not know it cannot fulfil, and so it must not allow
		if kind, _ := o["type"].(string); !slices.Contains(obligation.Types(), kind) {
			return deny(ReasonObligation, "the policy gave an obligation of type "+kind+", which the host does not know")
		}
	}
	d.Reasons = normaliseReasons(d.Reasons)
	d.TTLSeconds = min(max(d.TTLSeconds, 0), maxTTL)
	return d
}

func normaliseReasons(reasons []kernel.Reason) []kernel.Reason {
	safe := make([]kernel.Reason, len(reasons))
	for i, r := range reasons {
		safe[i] = kernel.Reason{ID: kernel.Quote(r.ID), Msg: kernel.Quote(r.Msg)}
	}
	slices.SortFunc(safe, func(a, b kernel.Reason) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Msg, b.Msg))
	})
	safe = slices.Compact(safe)
	return safe[:min(len(safe), maxReasons)]
}
