package httpapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/kernel"
)

type auditInput struct {
	After     string `query:"after" maxLength:"64" doc:"Begin behind this: the next of the answer before."`
	Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Kind      string `query:"kind" maxLength:"32" doc:"decision, call, module, policy, run, note, access, ..."`
	Effect    string `query:"effect" enum:"allow,deny,approve"`
	Action    string `query:"action" maxLength:"256" doc:"A pattern, such as llm.*."`
	Principal string `query:"principal" maxLength:"256"`
	RunID     string `query:"run_id" maxLength:"128"`
}

// AuditEntry is a record of the audit log, and which one it is, from 1.
type AuditEntry struct {
	N      int64           `json:"n"`
	Record json.RawMessage `json:"record" doc:"{time, kind, action, resource, effect, reasons, principal, run_id, result, ...}"`
}

type auditOutput struct {
	Body struct {
		Records []AuditEntry `json:"records" doc:"The oldest first, as they stand: see /v1/audit/verify."`
		Next    string       `json:"next" doc:"The after of the question that goes on, also with records that are yet to come."`
		More    bool         `json:"more" doc:"Whether there may be more already. A page can be empty all the same: only so much is looked through at once."`
	}
}

type checkpointOutput struct {
	Body struct {
		Checkpoint string `json:"checkpoint" doc:"The signed note. Who keeps it finds out later whether the log was rolled back."`
		Key        string `json:"key" doc:"The public key that it is signed with. Whoever checks a proof should have it by another way."`
	}
}

type proofInput struct {
	Body struct {
		Record int64  `json:"record,omitempty" minimum:"0" doc:"Which record is proven, from 1."`
		Known  string `json:"known,omitempty" maxLength:"65536" doc:"An earlier checkpoint: the proof shows that the log has only grown since."`
	}
}

type proofOutput struct {
	Body json.RawMessage
}

type verifyInput struct {
	Body struct {
		Known string `json:"known,omitempty" maxLength:"65536" doc:"An earlier checkpoint, which the log must contain unchanged."`
	}
}

// AuditReport is what a log holds that was found to be as it was signed.
type AuditReport struct {
	Records  int64                   `json:"records" doc:"How many the checkpoint covers."`
	Root     string                  `json:"root" doc:"Of the tree of records, in base64."`
	SignedAt string                  `json:"signed_at" format:"date-time"`
	Key      string                  `json:"key"`
	Kinds    map[string]int64        `json:"kinds"`
	Effects  map[kernel.Effect]int64 `json:"effects"`
}

type reportOutput struct{ Body AuditReport }

func (s *Server) routeAudit() {
	huma.Register(s.api, huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "The tenant's audit log", Tags: []string{"audit"}}, s.listAudit)
	huma.Register(s.api, huma.Operation{OperationID: "audit-checkpoint", Method: http.MethodGet, Path: "/v1/audit/checkpoint", Summary: "The signed checkpoint of the audit log", Tags: []string{"audit"}}, s.auditCheckpoint)
	huma.Register(s.api, huma.Operation{OperationID: "audit-proof", Method: http.MethodPost, Path: "/v1/audit/proof", Summary: "Prove that a record is in the audit log, or that this has only grown", Tags: []string{"audit"}}, s.auditProof)
	huma.Register(s.api, huma.Operation{OperationID: "verify-audit", Method: http.MethodPost, Path: "/v1/audit/verify", Summary: "Recompute the audit log, and compare it with what was signed", Tags: []string{"audit"},
		Description: "It takes time in the length of the log, and is done once at a time. 'hexdag audit prove --check' checks a proof without the server."}, s.verifyAudit)
}

// The actions of the audit log, which governance is asked about.
const (
	actionAuditRead   = "audit.read"
	actionAuditProve  = "audit.prove"
	actionAuditVerify = "audit.verify"
)

// mine are the records that a tenant may see: its own, and those of its log. A folder may have been used for another tenant before.
func (t *tenant) mine(r *host.AuditRecord) bool { return r.Tenant == t.name || r.Tenant == "" }

func (s *Server) listAudit(ctx context.Context, in *auditInput) (*auditOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionAuditRead, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	from, err := host.ParseAuditPlace(in.After)
	if err != nil {
		return nil, answer(err)
	}
	out := &auditOutput{}
	out.Body.Records = []AuditEntry{}
	next, more, err := t.host.AuditPage(from, func(n int64, r *host.AuditRecord) bool {
		if !t.mine(r) || !in.picks(r) {
			return true
		}
		text, err := json.Marshal(r)
		if err != nil { // it was read from JSON
			return true
		}
		out.Body.Records = append(out.Body.Records, AuditEntry{n, text})
		return len(out.Body.Records) < in.Limit
	})
	if err != nil {
		return nil, answer(err)
	}
	out.Body.Next, out.Body.More = next.String(), more
	return out, nil
}

func (in *auditInput) picks(r *host.AuditRecord) bool {
	for _, want := range [][2]string{{in.Kind, r.Kind}, {in.Effect, string(r.Effect)}, {in.Principal, r.Principal}, {in.RunID, r.RunID}} {
		if want[0] != "" && want[0] != want[1] {
			return false
		}
	}
	return in.Action == "" || abi.Match(in.Action, r.Action)
}

func (s *Server) auditCheckpoint(ctx context.Context, _ *struct{}) (*checkpointOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionAuditRead, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	out := &checkpointOutput{}
	var err error
	out.Body.Checkpoint, out.Body.Key, err = t.host.AuditCheckpoint()
	if err != nil {
		return nil, answer(err)
	}
	return out, nil
}

func (s *Server) auditProof(ctx context.Context, in *proofInput) (*proofOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionAuditProve, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	done, err := t.alone()
	if err != nil {
		return nil, answer(err)
	}
	defer done()
	proof, err := t.host.ProveAudit(ctx, in.Body.Record, []byte(in.Body.Known))
	if err != nil {
		return nil, ofKnown(err)
	}
	if in.Body.Record > 0 {
		var r host.AuditRecord
		if err := json.Unmarshal([]byte(proof.Line), &r); err != nil || !t.mine(&r) {
			return nil, answer(&kernel.Error{Code: kernel.CodeNotFound, What: "there is no record " + itoa(in.Body.Record) + " of this tenant"})
		}
	}
	text, err := json.Marshal(proof)
	if err != nil {
		return nil, answer(err)
	}
	return &proofOutput{text}, nil
}

func (s *Server) verifyAudit(ctx context.Context, in *verifyInput) (*reportOutput, error) {
	t, who := s.of(ctx)
	if err := t.host.Allow(ctx, who.Principal, actionAuditVerify, tenantResource(t)); err != nil {
		return nil, answer(err)
	}
	done, err := t.alone()
	if err != nil {
		return nil, answer(err)
	}
	defer done()
	r, err := t.host.VerifyAudit(ctx, []byte(in.Body.Known))
	if err != nil {
		return nil, ofKnown(err)
	}
	return &reportOutput{AuditReport{Records: r.Records, Root: r.Root, SignedAt: r.SignedAt.UTC().Format(rfc3339), Key: r.Key, Kinds: r.Kinds, Effects: r.Effects}}, nil
}

// ofKnown is what is wrong with a log, or with the checkpoint that it is held to: the log is open, so that only the latter can be of no use.
func ofKnown(err error) error {
	if kernel.CodeOf(err) == kernel.CodeConfig {
		return problemOf(http.StatusUnprocessableEntity, err)
	}
	return answer(err)
}

// alone lets a tenant read its whole log once at a time.
func (t *tenant) alone() (done func(), err error) {
	if !t.reading.TryLock() {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the audit log is being read already", Why: "a tenant's is read as a whole once at a time", Fix: "ask again later", RetryAfter: askAgain}
	}
	return t.reading.Unlock, nil
}
