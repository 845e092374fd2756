package httpport

import (
	"context"
	"maps"
	"net/http"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret"
)

// carriers are the arguments that a secret can be in. The URL is none: it says where the request
// goes, and stands in the logs of whatever is on the way.
var carriers = []string{"headers", "params", "json", "json_body", "body"}

// withSecrets returns the request with secrets in place of their handles. The call, which hooks
// and records have seen, is left as it is.
func (p *Port) withSecrets(ctx context.Context, call *kernel.PortCall, method string, r *http.Request) (*http.Request, secret.Values, error) {
	if rawURL, _ := call.Args["url"].(string); strings.Contains(rawURL, "<secret:") {
		return nil, nil, badCall(call, "a secret cannot be in the URL; write it into a header, params, json or body")
	}
	carried := map[string]any{}
	for _, name := range carriers {
		if v, given := call.Args[name]; given {
			carried[name] = v
		}
	}
	names := secret.Names(carried)
	if len(names) == 0 {
		return r, nil, nil
	}
	values, err := secret.Use(ctx, call, names, r.URL.Host, r.URL.Scheme == "https")
	if err != nil {
		return nil, nil, err
	}
	filled := *call
	filled.Args = maps.Clone(call.Args)
	for name, v := range carried {
		filled.Args[name] = values.PutAll(v)
	}
	r, err = p.parse(&filled, method)
	if err != nil { // whose words may hold a value
		return nil, nil, badCall(call, "the request cannot be sent with its secrets: one is no single line of text, or makes it too large")
	}
	return r, values, nil
}

// scrub puts handles in place of secrets that the server sent back.
func (a *answer) scrub(secrets secret.Values) {
	if len(secrets) == 0 {
		return
	}
	a.secrets = secrets
	a.body = secrets.Scrub(a.body)
	header := http.Header{}
	for name, values := range a.header {
		for _, value := range values {
			key := string(secrets.Scrub([]byte(name)))
			header[key] = append(header[key], string(secrets.Scrub([]byte(value))))
		}
	}
	a.header = header
}
