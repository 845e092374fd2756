// Package opa is a backend of governance: a server of Open Policy Agent, asked over its
// REST API. The rule that decides gives the document of package rego:
//
//	{"effect": "allow", "reasons": [...], "obligations": [...], "ttl_s": 60}
//
// The server's revision is not known, so that no decision is kept.
package opa

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/driver"
	"github.com/hexdag/hexdag/host/ports/governance/remote"
)

// Decision is the rule that decides unless another is named.
const Decision = "hexdag/authz/decision"

// Config is the configuration of a driver.
type Config struct {
	remote.Config
	Decision string `json:"decision"` // the rule that decides, as package/rule; "hexdag/authz/decision" if it is not said
}

// Driver decides by a rule of the server.
type Driver struct {
	client *remote.Client
	path   string
}

// New returns a driver. The caller closes it. What is wrong with the configuration is
// CodeConfig; the server is not asked.
func New(c Config) (*Driver, error) {
	if c.Decision == "" {
		c.Decision = Decision
	}
	path := "/v1/data"
	for segment := range strings.SplitSeq(c.Decision, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return nil, &kernel.Error{Code: kernel.CodeConfig, What: "decision " + kernel.Quote(c.Decision) + " is no rule's path", Fix: "write it as " + Decision}
		}
		path += "/" + url.PathEscape(segment)
	}
	client, err := remote.New(c.Config)
	if err != nil {
		return nil, err
	}
	return &Driver{client: client, path: path}, nil
}

// Close ends the connections.
func (d *Driver) Close() error { return d.client.Close() }

// Authorize asks the server, with the request as the policy's input.
func (d *Driver) Authorize(ctx context.Context, req *kernel.AccessRequest) (kernel.Decision, error) {
	input, err := kernel.ToValue(req)
	if err != nil {
		return kernel.Decision{}, err
	}
	v, err := d.client.Post(ctx, d.path, map[string]any{"input": input})
	if err != nil {
		return kernel.Decision{}, err
	}
	answer, ok := v.(map[string]any)
	if !ok {
		return kernel.Decision{}, errors.New("the server's answer is no object")
	}
	result, defined := answer["result"]
	if !defined {
		return kernel.Decision{}, nil
	}
	decision, err := driver.ReadDecision(result)
	if err != nil {
		return kernel.Decision{}, fmt.Errorf("the policy's decision cannot be read: %w", err)
	}
	return decision, nil
}
