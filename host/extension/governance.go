package extension

import (
	"context"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// Authorize has the module decide and returns the decision's document; absent, it had
// no answer.
func (m *Module) Authorize(ctx context.Context, req *kernel.AccessRequest) (decision kernel.Value, defined bool, err error) {
	message, err := governed(ctx, req)
	if err != nil {
		return nil, false, err
	}
	return m.govern(ctx, abi.Authorize, req.Context.Node, message)
}

// Audit shows the module a record. An error means that it refuses it.
func (m *Module) Audit(ctx context.Context, record *kernel.AuditRecord) error {
	v, err := kernel.ToValue(record)
	if err != nil {
		return err
	}
	_, _, err = m.govern(ctx, abi.Audit, record.Node, map[string]any{"run": runMessage(ctx).Value, "record": v})
	return err
}

// Permissions asks the module what a subject may do.
func (m *Module) Permissions(ctx context.Context, subject *kernel.Subject, scope *kernel.Scope) (list kernel.Value, defined bool, err error) {
	message, err := governed(ctx, &struct {
		Subject *kernel.Subject `json:"subject"`
		Context *kernel.Scope   `json:"context"`
	}{subject, scope})
	if err != nil {
		return nil, false, err
	}
	return m.govern(ctx, abi.Permissions, scope.Node, message)
}

// governed is a question to governance as a message of the ABI.
func governed(ctx context.Context, question any) (map[string]any, error) {
	v, err := kernel.ToValue(question)
	if err != nil {
		return nil, err
	}
	message, _ := v.(map[string]any)
	message["run"] = runMessage(ctx).Value
	return message, nil
}

// govern calls a module that is on nobody's behalf: whoever is judged has no part in
// what the judge may do.
func (m *Module) govern(ctx context.Context, point abi.Point, node string, message kernel.Value) (kernel.Value, bool, error) {
	v := m.hold(ctx)
	defer m.release(ctx, v)
	out, err := v.call(ctx, point, node, kernel.Caller{}, message, nil)
	if err != nil {
		return nil, false, err
	}
	if out.Verdict == abi.Replace || out.Verdict == abi.Skip {
		return nil, false, &kernel.Error{Code: kernel.CodeABI, What: "module " + kernel.Quote(m.Name()) + " gave the verdict " + out.Verdict.String() + " in " + string(point), Where: kernel.Where{Module: v.ID()}}
	}
	answer, err := v.result(point, out)
	return answer, err == nil && out.HasOut, err
}
