package agent

import "context"

type callKey struct{}

// withCallID returns the context of a tool's call, by the id that the model has given it.
func withCallID(ctx context.Context, id string) context.Context {
	if id == "" { // it was written
		return ctx
	}
	return context.WithValue(ctx, callKey{}, id)
}

// CallIDFrom returns the id that the model has given the call of a tool, or "".
func CallIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(callKey{}).(string)
	return id
}
