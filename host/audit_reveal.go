package host

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/commitment"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

// AuditDisclosure is one masked value of an audit record, with all that it takes to check it.
type AuditDisclosure = auditlog.Disclosure

// MaskedField is one value that a record has not, and whether it can be proven still.
type MaskedField struct {
	Pointer    string `json:"pointer"`
	Commitment string `json:"commitment"`
	Provable   bool   `json:"provable"` // its salt is there
}

// MaskedFields returns what is masked in a record, from 1, of an audit log, by its pointers.
func MaskedFields(ctx context.Context, dir string, record int64, salts string, opts AuditOptions) ([]MaskedField, error) {
	_, r, openings, err := auditlog.Masked(ctx, dir, record, salts, opts)
	if err != nil {
		return nil, err
	}
	fields := []MaskedField{}
	for _, pointer := range slices.Sorted(maps.Keys(r.Commitments)) {
		_, provable := openings[pointer]
		fields = append(fields, MaskedField{pointer, r.Commitments[pointer], provable})
	}
	return fields, nil
}

// DiscloseAudit returns what it takes to prove that value is what was masked in a record, from 1, at
// one of the pointers in Masked. The value of a pointer with a * in it is an object of the values by the
// pointers that it came to. What is not the value is refused.
func DiscloseAudit(ctx context.Context, dir string, record int64, pointer string, value kernel.Value, salts string, opts AuditOptions) (*AuditDisclosure, error) {
	proof, r, openings, err := auditlog.Masked(ctx, dir, record, salts, opts)
	if err != nil {
		return nil, err
	}
	opening, provable := openings[pointer]
	if _, isMasked := r.Commitments[pointer]; !isMasked || !provable {
		why := "its salt was erased, or is in another file"
		if !isMasked {
			why = "the record commits to " + orElse(strings.Join(slices.Sorted(maps.Keys(r.Commitments)), ", "), "nothing")
		}
		return nil, &kernel.Error{Code: kernel.CodeNotFound, What: "what was at " + kernel.Quote(pointer) + " cannot be proven", Where: kernel.Where{File: dir}, Why: why, Fix: "see 'hexdag audit reveal DIR RECORD' for what can"}
	}
	at := map[string]any{pointer: value}
	if object, ok := value.(map[string]any); ok && strings.Contains(pointer, "/*") {
		at = object
	}
	if !commitment.Opens(opening, pointer, at) {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "this is not what was at " + kernel.Quote(pointer), Where: kernel.Where{File: dir}, Fix: "give the value as JSON, as the call had it; for a pointer with a *, an object of values by their pointers"}
	}
	return &AuditDisclosure{Proof: proof, Pointer: pointer, Opening: opening, Value: at}, nil
}

// EraseAudit erases the salts of what is masked in records, from 1, of an audit log, and of
// what was masked before a time unless it is zero. It returns how many there were: their
// values can not be proven any more, nor found out, and the log is as it was signed.
func EraseAudit(ctx context.Context, dir string, records []int64, before time.Time, salts string, opts AuditOptions) (int, error) {
	commitments := map[string]bool{}
	for _, n := range records {
		_, r, _, err := auditlog.Masked(ctx, dir, n, salts, opts)
		if err != nil {
			return 0, err
		}
		for _, c := range r.Commitments {
			commitments[c] = true
		}
	}
	return auditlog.Erase(ctx, orElse(salts, auditlog.SaltsFile(filepath.Clean(dir))), commitments, before)
}
