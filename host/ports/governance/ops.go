package governance

import (
	"context"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// OpAuthorize asks for a decision: {action, resource?: {type, id}, args?} ->
// {effect, reasons: [{id, msg}], obligations?, ttl_s?}. Who asks is taken from the
// call, never from the arguments. An operator can grant it by action.
const OpAuthorize = "governance.authorize"

// Ops returns the port's operations.
func (p *Port) Ops() []ports.Op {
	return []ports.Op{{Name: OpAuthorize, Guards: []string{"action"}, Decides: true, Func: p.authorizeOp}}
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
