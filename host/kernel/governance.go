package kernel

import (
	"context"
	"time"
)

// AccessRequest asks whether a subject may do an action to a resource. The shape
// is that of AuthZEN's evaluation request.
type AccessRequest struct {
	Subject  Subject  `json:"subject"`
	Action   Act      `json:"action"`
	Resource Resource `json:"resource"`
	Context  Scope    `json:"context"`
}

// Subject is who asks.
type Subject struct {
	Type   string   `json:"type"` // "user" or "module"
	ID     string   `json:"id"`
	Tenant string   `json:"tenant"`
	Chain  []string `json:"on_behalf_of,omitempty"` // the callers below the subject, outermost first
}

// Act is what is to be done, with its arguments.
type Act struct {
	Name string         `json:"name"`
	Args map[string]any `json:"args,omitempty"`
	// Text is that of the arguments, where whoever asks has it; see Text.For.
	Text *Text `json:"-"`
}

// Resource is what it is done to.
type Resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Scope is the circumstance of a request.
type Scope struct {
	RunID    string `json:"run_id,omitempty"`
	Pipeline string `json:"pipeline,omitempty"`
	Node     string `json:"node,omitempty"`
	// Labels are what whoever started the run said of it, and integrity and
	// confidentiality of what goes into the call.
	Labels map[string]string `json:"labels,omitempty"`
	// Sources are where what goes into the call comes from, as far as it is untrusted or
	// not public.
	Sources []string      `json:"sources,omitempty"`
	Usage   UsageSnapshot `json:"usage"`
}

// Effect is the outcome of a decision.
type Effect string

// The effects. Anything else counts as Forbid.
const (
	Allow   Effect = "allow"
	Forbid  Effect = "deny"
	Approve Effect = "approve" // a person has to approve first
)

// Stricter reports whether e wins over other: denials over approvals, these over what
// is allowed.
func (e Effect) Stricter(other Effect) bool { return e.strictness() > other.strictness() }

func (e Effect) strictness() int {
	switch e {
	case Allow:
		return 0
	case Approve:
		return 1
	}
	return 2
}

// Reason is a rule that took part in a decision.
type Reason struct {
	ID  string `json:"id"`
	Msg string `json:"msg"`
}

// Decision is the answer to an AccessRequest.
type Decision struct {
	Effect      Effect           `json:"effect"`
	Reasons     []Reason         `json:"reasons"`
	Obligations []map[string]any `json:"obligations,omitempty"`
	TTLSeconds  int              `json:"ttl_s,omitempty"`
	// Revision identifies the rules and data that decided; "" where the backend cannot tell.
	Revision string `json:"revision,omitempty"`
}

// Permission is something that a subject may do: an action on resources, or, where
// a backend can tell of all of them at once, patterns of both, as abi.Match has it.
type Permission struct {
	Action   string   `json:"action"`
	Resource string   `json:"resource"` // "type:id"
	Effect   Effect   `json:"effect"`   // Allow or Approve; among patterns, Forbid takes away from the others
	Rules    []string `json:"rules,omitempty"`
}

// Permissions is the answer to what a subject may do.
type Permissions struct {
	List []Permission `json:"permissions"`
	// Patterns says that the list has patterns, and covers every action and
	// resource that there can be; else it covers those that were asked about.
	Patterns bool `json:"patterns"`
}

// ApprovalNeeded is the cause of an error with CodeApproval: the call can be made
// again once a person has approved it.
type ApprovalNeeded struct {
	ID      string
	Expires time.Time // after which the approval can no longer be given
}

// Error says which approval is waited for.
func (a *ApprovalNeeded) Error() string { return "waits for approval " + a.ID }

// EventKey is what a run that waits for the approval waits for.
func (a *ApprovalNeeded) EventKey() string { return ApprovalKey + a.ID }

// Until is when it can no longer be given.
func (a *ApprovalNeeded) Until() time.Time { return a.Expires }

// ApprovalKey is how the keys of events begin that approvals are.
const ApprovalKey = "hexdag.approval:"

// Authorizer decides. It never returns an effect other than the three, and its
// errors are to be taken as Forbid.
type Authorizer interface {
	Authorize(ctx context.Context, req *AccessRequest) (Decision, error)
}

// AuditRecord is one line of the audit log.
type AuditRecord struct {
	Time      string   `json:"time"` // RFC 3339, UTC, nanoseconds
	Kind      string   `json:"kind"` // "decision", "call", "module", "policy", "run", "note", "shadow", "log", "cache"
	RunID     string   `json:"run_id,omitempty"`
	Tenant    string   `json:"tenant,omitempty"`
	Principal string   `json:"principal,omitempty"`
	Chain     []string `json:"chain,omitempty"`
	Node      string   `json:"node,omitempty"`
	Action    string   `json:"action"`
	Resource  string   `json:"resource,omitempty"`
	Effect    Effect   `json:"effect,omitempty"`
	Reasons   []Reason `json:"reasons,omitempty"`
	Result    string   `json:"result,omitempty"` // "ok" or an error code
	Digest    string   `json:"digest,omitempty"` // SHA-256 of the arguments, or of the module
	Detail    string   `json:"detail,omitempty"`
	Revision  string   `json:"revision,omitempty"` // of the policy that decided
	Labels    *Labels  `json:"labels,omitempty"`   // of what went into the call
	Masked    []string `json:"masked,omitempty"`   // JSON pointers to what was removed, of the record and of /args
	// SubjectType, Context and Args are of decisions alone: what else was asked, so that it can be
	// asked again. The context is without what the record has already; Args, without what is masked, is
	// nil unless the host keeps arguments.
	SubjectType string          `json:"subject_type,omitempty"`
	Context     *Scope          `json:"context,omitempty"`
	Args        *map[string]any `json:"args,omitempty"`
	// Commitments are to what was removed, by the pointers in Masked: see package commitment.
	Commitments map[string]string `json:"commitments,omitempty"`
	// Openings are what opens Commitments. They are kept apart from the record.
	Openings []Opening `json:"-"`
}

// Opening is what it takes, beside the value, to check a commitment.
type Opening struct {
	Commitment string `json:"commitment"`
	Salt       string `json:"salt"` // base64
}

// Auditor records. An action whose record cannot be written must not happen.
type Auditor interface {
	Audit(ctx context.Context, record *AuditRecord) error
}
