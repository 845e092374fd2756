package obligation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/commitment"
)

// Pointer is a JSON pointer (RFC 6901), split into its tokens, in which the token
// * stands for every member or element.
type Pointer []string

// maxTokens is how deep a pointer can go: no value nests deeper.
const maxTokens = kernel.MaxDepth

// ParsePointer reads a pointer.
func ParsePointer(text string) (Pointer, error) {
	if text == "" {
		return Pointer{}, nil
	}
	if text[0] != '/' || len(text) > maxText {
		return nil, fmt.Errorf("%s is no JSON pointer: it begins with /, and has at most %d bytes", kernel.Quote(text), maxText)
	}
	tokens := strings.Split(text[1:], "/")
	if len(tokens) > maxTokens {
		return nil, fmt.Errorf("%s has %d tokens; the limit is %d", kernel.Quote(text), len(tokens), maxTokens)
	}
	for i, token := range tokens {
		tokens[i] = abi.UnescapePointer(token)
	}
	return tokens, nil
}

// String returns the pointer as it is written.
func (p Pointer) String() string {
	var b strings.Builder
	for _, token := range p {
		b.WriteString("/" + abi.EscapePointer(token))
	}
	return b.String()
}

// Mask returns v without what the pointers name. Members go; elements of arrays
// become null, so that the others keep their places. It does not change v.
func Mask(v kernel.Value, pointers []Pointer) kernel.Value {
	for _, p := range pointers {
		v = without(v, p)
	}
	return v
}

func without(v kernel.Value, p Pointer) kernel.Value {
	if len(p) == 0 {
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		return withoutMember(v, p)
	case []any:
		return withoutElement(v, p)
	}
	return v
}

func withoutMember(v map[string]any, p Pointer) kernel.Value {
	changed := make(map[string]any, len(v))
	for name, member := range v {
		switch {
		case p[0] != "*" && p[0] != name:
			changed[name] = member
		case len(p) > 1:
			changed[name] = without(member, p[1:])
		}
	}
	return changed
}

func withoutElement(v []any, p Pointer) kernel.Value {
	changed := slices.Clone(v)
	for i := range changed {
		if p[0] == "*" || p[0] == strconv.Itoa(i) {
			changed[i] = without(changed[i], p[1:])
		}
	}
	return changed
}

// Args returns the arguments of a call without what records may not tell of them.
func (d *Duties) Args(args map[string]any) map[string]any {
	if d == nil {
		return args
	}
	var v kernel.Value = args
	for _, p := range d.Record {
		if p[0] == "args" {
			v = without(v, p[1:])
		}
	}
	masked, _ := v.(map[string]any)
	return masked
}

// Hides reports whether there is something that records are not to have.
func (d *Duties) Hides() bool { return d != nil && len(d.Record) > 0 }

// masked stands in a record for what is not told.
const masked = "[masked]"

// maskable reports whether a record can do without what p names: a member of the
// record, or something below the arguments, of which it has the digest.
func maskable(p Pointer) bool {
	if len(p) == 0 {
		return false
	}
	switch p[0] {
	case "args":
		return true
	case "resource", "principal", "chain", "node", "detail", "reasons", "digest", "labels":
		return len(p) == 1
	}
	return false
}

func everything() []Pointer {
	return []Pointer{{"args"}, {"resource"}, {"principal"}, {"chain"}, {"node"}, {"detail"}, {"reasons"}, {"digest"}, {"labels"}}
}

// MaskRecord removes from a record of a call with args, before it is hashed, what it may not
// tell, notes in it what was removed, and commits to that. Of reasons the rules' ids stay.
func (d *Duties) MaskRecord(r *kernel.AuditRecord, args map[string]any) {
	if d == nil {
		return
	}
	for _, p := range d.Record {
		commit(r, p, args)
	}
	for _, p := range d.Record {
		switch p[0] {
		case "resource":
			r.Resource = masked
		case "principal":
			r.Principal = masked
			if len(r.Chain) > 0 { // which begins with it
				r.Chain = slices.Clone(r.Chain)
				r.Chain[0] = masked
			}
		case "chain":
			r.Chain = nil
		case "node":
			r.Node = masked
		case "detail":
			r.Detail = masked
		case "digest":
			r.Digest = ""
		case "labels":
			r.Labels = nil
			if r.Context != nil {
				told := *r.Context
				told.Labels, told.Sources = withoutFlow(told.Labels), nil
				r.Context = &told
			}
		case "reasons":
			r.Reasons = slices.Clone(r.Reasons)
			for i := range r.Reasons {
				r.Reasons[i].Msg = masked
			}
		}
		r.Masked = append(r.Masked, p.String())
	}
}

// commit commits to what a pointer names of a record. What cannot be committed to is
// masked all the same.
func commit(r *kernel.AuditRecord, p Pointer, args map[string]any) {
	name := p.String()
	if _, done := r.Commitments[name]; done {
		return
	}
	o, err := commitment.Commit(name, Matches(p, maskables(r, args)))
	if err != nil {
		return
	}
	if r.Commitments == nil {
		r.Commitments = map[string]string{}
	}
	r.Commitments[name] = o.Commitment
	r.Openings = append(r.Openings, o)
}

// maskables is a record as pointers see it.
func maskables(r *kernel.AuditRecord, args map[string]any) kernel.Value {
	chain, reasons := make([]any, len(r.Chain)), make([]any, len(r.Reasons))
	for i, name := range r.Chain {
		chain[i] = name
	}
	for i, reason := range r.Reasons {
		reasons[i] = map[string]any{"id": reason.ID, "msg": reason.Msg}
	}
	return map[string]any{"args": args, "resource": r.Resource, "principal": r.Principal, "chain": chain, "node": r.Node, "detail": r.Detail, "reasons": reasons, "digest": r.Digest, "labels": r.Labels.Value()}
}

// withoutFlow are a run's labels without what they say of a value.
func withoutFlow(labels map[string]string) map[string]string {
	labels = maps.Clone(labels)
	delete(labels, kernel.LabelIntegrity)
	delete(labels, kernel.LabelConfidentiality)
	return labels
}

// Matches returns what a pointer names in v, by the pointers without a * that come to it:
// what a commitment is to. It is empty if there is nothing.
func Matches(p Pointer, v kernel.Value) map[string]any {
	found := map[string]any{}
	match(p, v, nil, found)
	return found
}

func match(p Pointer, v kernel.Value, at Pointer, found map[string]any) {
	if len(p) == 0 {
		found[at.String()] = v
		return
	}
	below := func(token string, v kernel.Value) { match(p[1:], v, append(slices.Clip(at), token), found) }
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if p[0] == "*" || p[0] == name {
				below(name, member)
			}
		}
	case []any:
		for i, element := range v {
			if n := strconv.Itoa(i); p[0] == "*" || p[0] == n {
				below(n, element)
			}
		}
	}
}
