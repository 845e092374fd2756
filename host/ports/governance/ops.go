package governance

import (
	"context"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

const (
	// OpAuthorize asks for a decision: {action, resource?: {type, id}, args?} ->
	// {effect, reasons: [{id, msg}], obligations?, ttl_s?, revision?}. Who asks is taken
	// from the call, never from the arguments. An operator can grant it by action.
	OpAuthorize = "governance.authorize"
	// OpAudit records what a pipeline or a module did: {action, resource?: {type, id},
	// result?, detail?} -> null. The record's kind is "note", so that nobody takes it for
	// one of the host's own; who says so is taken from the call.
	OpAudit = "governance.audit"
	// OpListPermissions says what the caller may do: {actions?: [name], resources?:
	// [{type, id}], each?} -> {permissions: [{action, resource, effect, rules}], patterns}.
	// See Port.ListPermissions.
	OpListPermissions = "governance.list_permissions"
)

// Ops returns the port's operations.
func (p *Port) Ops() []ports.Op {
	return []ports.Op{
		{Name: OpAuthorize, Guards: []string{"action"}, Decides: true, Func: p.authorizeOp},
		{Name: OpAudit, Guards: []string{"action"}, Func: p.auditOp},
		{Name: OpListPermissions, Func: p.listOp},
	}
}

// read takes an operation's arguments.
func read(call *kernel.PortCall, into any, fix string) error {
	if err := kernel.FromValue(call.Args, into); err != nil {
		return badArguments(call.Op, err, fix)
	}
	return nil
}

func badArguments(op string, err error, fix string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: op + ": the arguments cannot be used", Why: kernel.Quote(err.Error()), Fix: fix, Err: err}
}

// maxDetail bounds what one note can put on record, in bytes.
const maxDetail = 4 << 10

func (p *Port) auditOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	var args struct {
		Action   string          `json:"action"`
		Resource kernel.Resource `json:"resource"`
		Result   string          `json:"result"`
		Detail   string          `json:"detail"`
	}
	const fix = "give {action, resource?: {type, id}, result?, detail?}"
	if err := read(call, &args, fix); err != nil {
		return nil, err
	}
	if args.Action == "" {
		return nil, badArguments(call.Op, errors.New("an action is needed"), fix)
	}
	if size := len(args.Action) + len(args.Resource.Type) + len(args.Resource.ID) + len(args.Result) + len(args.Detail); size > maxDetail {
		return nil, badArguments(call.Op, fmt.Errorf("they have %d bytes of text; the limit is %d", size, maxDetail), "record less, or store it as an artifact and record its name")
	}
	r := &kernel.AuditRecord{
		Kind: "note", Principal: call.Caller.Principal, Chain: call.Caller.Chain(), Node: call.Node,
		Action: kernel.Quote(args.Action), Result: kernel.Quote(args.Result), Detail: kernel.Quote(args.Detail),
	}
	if args.Resource != (kernel.Resource{}) {
		r.Resource = kernel.Quote(args.Resource.Type) + ":" + kernel.Quote(args.Resource.ID)
	}
	if run := kernel.RunFrom(ctx); run != nil {
		r.RunID, r.Tenant = run.RunID, run.Tenant
	}
	return &kernel.PortReply{}, p.Audit(ctx, r)
}

func (p *Port) listOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	var args struct {
		Actions   []string          `json:"actions"`
		Resources []kernel.Resource `json:"resources"`
		Each      bool              `json:"each"`
	}
	if err := read(call, &args, "give {actions?: [name], resources?: [{type, id}], each?}"); err != nil {
		return nil, err
	}
	found, err := p.ListPermissions(ctx, &Query{
		Subject: ports.SubjectOf(ctx, call.Caller), Context: ports.ScopeOf(ctx, call.Node), Actions: args.Actions, Resources: args.Resources, Each: args.Each,
	})
	if err != nil {
		return nil, err
	}
	v, err := kernel.ToValue(found)
	return &kernel.PortReply{Value: v}, err
}

func (p *Port) authorizeOp(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	req, err := request(ctx, call)
	if err != nil {
		return nil, err
	}
	d, err := p.Authorize(ctx, req)
	if err != nil {
		return nil, err
	}
	v, err := kernel.ToValue(d)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: v}, nil
}

func request(ctx context.Context, call *kernel.PortCall) (*kernel.AccessRequest, error) {
	var args struct {
		Action   string          `json:"action"`
		Resource kernel.Resource `json:"resource"`
		Args     map[string]any  `json:"args"`
	}
	err := kernel.FromValue(call.Args, &args)
	if err == nil && args.Action == "" {
		err = fmt.Errorf("an action is needed")
	}
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: OpAuthorize + ": the arguments cannot be used", Why: kernel.Quote(err.Error()),
			Fix: "give {action, resource?: {type, id}, args?}", Err: err}
	}
	return &kernel.AccessRequest{
		Subject:  ports.SubjectOf(ctx, call.Caller),
		Action:   kernel.Act{Name: args.Action, Args: args.Args},
		Resource: args.Resource,
		Context:  ports.ScopeOf(ctx, call.Node),
	}, nil
}
