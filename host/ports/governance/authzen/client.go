// Package authzen speaks AuthZEN's Authorization API 1.0: Driver asks its access
// evaluation endpoint, Handler is one for any backend of governance.
//
// A request says {"subject": {type, id, properties}, "action": {name, properties},
// "resource": {type, id}, "context": {...}}, where the subject's properties are tenant
// and on_behalf_of, the action's its arguments, and the context a kernel.Scope. An
// answer is {"decision": bool, "context": {...}}; ours has the whole decision as the
// context's member "hexdag".
package authzen

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/remote"
)

// EvaluationPath is where the endpoint is below a server's URL.
const EvaluationPath = "/access/v1/evaluation"

// Config is the configuration of a driver.
type Config struct {
	remote.Config
	// IgnoreContext names members of an answer's context that restrict nothing, beside
	// those that AuthZEN's examples have. A permit with others is refused: they could
	// be conditions.
	IgnoreContext []string `json:"ignore_context"`
}

// Driver decides by an endpoint.
type Driver struct {
	client *remote.Client
	ignore []string
}

// New returns a driver. The caller closes it. What is wrong with the configuration is
// CodeConfig; the server is not asked.
func New(c Config) (*Driver, error) {
	client, err := remote.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &Driver{client: client, ignore: append([]string{"id", "reason", "reason_admin", "reason_user"}, c.IgnoreContext...)}, nil
}

// Close ends the connections.
func (d *Driver) Close() error { return d.client.Close() }

// Authorize asks the endpoint.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	question, err := evaluation(req)
	if err != nil {
		return kernel.Decision{}, err
	}
	v, err := d.client.Post(ctx, EvaluationPath, question)
	if err != nil {
		return kernel.Decision{}, err
	}
	decision, err := d.read(v)
	if err != nil {
		return kernel.Decision{}, fmt.Errorf("the endpoint's answer cannot be read: %w", err)
	}
	return decision, nil
}

// evaluation is a request in AuthZEN's form.
func evaluation(req *kernel.AccessRequest) (kernel.Value, error) {
	scope, err := kernel.ToValue(req.Context)
	if err != nil {
		return nil, err
	}
	subject := map[string]any{"tenant": req.Subject.Tenant}
	if len(req.Subject.Chain) > 0 {
		chain := make([]any, len(req.Subject.Chain))
		for i, name := range req.Subject.Chain {
			chain[i] = name
		}
		subject["on_behalf_of"] = chain
	}
	action := map[string]any{"name": req.Action.Name}
	if req.Action.Args != nil {
		action["properties"] = req.Action.Args
	}
	return map[string]any{
		"subject":  map[string]any{"type": req.Subject.Type, "id": req.Subject.ID, "properties": subject},
		"action":   action,
		"resource": map[string]any{"type": req.Resource.Type, "id": req.Resource.ID},
		"context":  scope,
	}, nil
}

// read takes an answer for a decision. What is more than a yes or a no has to be
// understood, or it is a no.
func (d *Driver) read(v kernel.Value) (kernel.Decision, error) {
	answer, _ := v.(map[string]any)
	yes, ok := answer["decision"].(bool)
	if !ok {
		return kernel.Decision{}, errors.New("it has no decision that is true or false")
	}
	about, ok := answer["context"].(map[string]any)
	if !ok && answer["context"] != nil {
		return kernel.Decision{}, errors.New("its context is no object")
	}
	if document, whole := about["hexdag"]; whole {
		decision, err := driver.ReadDecision(document)
		if err == nil && yes != (decision.Effect == kernel.Allow) {
			err = fmt.Errorf("its decision is %v, and its effect %s", yes, kernel.Quote(string(decision.Effect)))
		}
		return decision, err
	}
	reasons := []kernel.Reason{{ID: "authzen", Msg: "the endpoint said " + fmt.Sprint(yes) + explanation(about)}}
	if !yes {
		return kernel.Decision{Effect: kernel.Forbid, Reasons: reasons}, nil
	}
	for _, name := range slices.Sorted(maps.Keys(about)) {
		if !slices.Contains(d.ignore, name) {
			return kernel.Decision{}, fmt.Errorf("it permits with %s in its context, which the host does not know: if that restricts nothing, name it in ignore_context", kernel.Quote(name))
		}
	}
	return kernel.Decision{Effect: kernel.Allow, Reasons: reasons}, nil
}

// explanation is what an answer says of its reasons.
func explanation(context map[string]any) string {
	for _, name := range []string{"reason_admin", "reason", "reason_user"} {
		if reason, there := context[name]; there {
			if text, err := kernel.EncodeJSON(reason); err == nil {
				return ": " + strings.ToValidUTF8(string(text[:min(len(text), 500)]), "")
			}
		}
	}
	return ""
}
