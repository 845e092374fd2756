package httpport

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
)

// Ops returns the port's methods for the door:
//
//	http.request {url, method?, headers?: {name: text}, params?: {name: scalar or [scalar]}, json? or body?, timeout?}
//	  -> {status_code, headers: {name: text}, body}
//
// method is GET, POST, PUT, DELETE, PATCH or HEAD, GET if left out. params are added
// to the URL's query. The request's body is json, any value, or body, a text, or
// the call's own bytes. timeout is a number of seconds, within the port's.
//
// Names of headers are answered in lower case; the values of one that is there twice
// are joined with a comma. body is the answer's JSON value if it says that it is JSON,
// else its text; what is no text is the reply's bytes, and body null. A status that
// says that the request failed is an answer, too.
//
// api_call.request, .get, .post, .put, .delete and .patch are the same under the name
// that hexDAG's nodes use for the port; json_body stands for json.
//
// In a header, in params, in json and in a text for the body, <secret:NAME> stands for a
// secret, which package secret says more about: it is put there when the request leaves, for a host that
// it may go to, and is not in the answer, should the server send it back.
//
// A capability can restrict host, which follows from url as [Host] has it, and of
// the two requests method, in capital letters.
func (p *Port) Ops() []ports.Op {
	ops := []ports.Op{
		{Name: "http.request", Guards: []string{"host", "method"}, Func: p.perform("")},
		{Name: "api_call.request", Guards: []string{"host", "method"}, Func: p.perform("")},
		{Name: "api_call.get", Guards: []string{"host"}, Func: p.perform(http.MethodGet)},
		{Name: "api_call.post", Guards: []string{"host"}, Func: p.perform(http.MethodPost)},
		{Name: "api_call.put", Guards: []string{"host"}, Func: p.perform(http.MethodPut)},
		{Name: "api_call.delete", Guards: []string{"host"}, Func: p.perform(http.MethodDelete)},
		{Name: "api_call.patch", Guards: []string{"host"}, Func: p.perform(http.MethodPatch)},
	}
	for i := range ops {
		ops[i].Derive = derive
	}
	return ops
}

// derive returns what capabilities restrict of a call: the host that will be
// dialed, and the method.
func derive(args map[string]any) map[string]string {
	derived := map[string]string{}
	if rawURL, ok := args["url"].(string); ok {
		if host, err := Host(rawURL); err == nil {
			derived["host"] = host
		}
	}
	if method, err := methodOf(args); err == nil {
		derived["method"] = method
	}
	return derived
}

func methodOf(args map[string]any) (string, error) {
	v, given := args["method"]
	if !given {
		return http.MethodGet, nil
	}
	method, _ := v.(string)
	method = strings.ToUpper(method)
	known := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodHead}
	if !slices.Contains(known, method) {
		return "", fmt.Errorf("method must be one of %s", strings.Join(known, ", "))
	}
	return method, nil
}

// perform returns an operation, of one method or of the one that a call names.
func (p *Port) perform(method string) kernel.PortFunc {
	return func(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
		r, err := p.parse(call, method)
		if err != nil {
			return nil, err
		}
		if err := p.checkHost(r.URL.Host); err != nil {
			return nil, err
		}
		timeout, err := p.timeoutOf(call)
		if err != nil {
			return nil, err
		}
		r, secrets, err := p.withSecrets(ctx, call, method, r)
		if err != nil {
			return nil, err
		}
		a, err := p.do(ctx, r, timeout)
		if err != nil {
			return nil, requestError(ctx, r.URL.Host, timeout, err)
		}
		a.scrub(secrets)
		return a.reply(), nil
	}
}

func (p *Port) timeoutOf(call *kernel.PortCall) (time.Duration, error) {
	v, given := call.Args["timeout"]
	if !given || v == nil {
		return p.timeout, nil
	}
	text, _ := v.(json.Number)
	seconds, err := text.Float64()
	if err != nil || !(seconds >= 0.001 && seconds <= p.timeout.Seconds()) {
		return 0, badCall(call, "timeout must be a number of seconds, from 0.001 to %g", p.timeout.Seconds())
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// reply is the answer as a port's.
func (a *answer) reply() *kernel.PortReply {
	headers := make(map[string]any, len(a.header))
	for name, values := range a.header {
		headers[strings.ToLower(name)] = strings.ToValidUTF8(strings.Join(values, ", "), string(utf8.RuneError))
	}
	value := map[string]any{"status_code": kernel.Number(int64(a.status)), "headers": headers, "body": nil}
	reply := &kernel.PortReply{Value: value}
	switch {
	case len(a.body) == 0:
	case isJSON(a.header.Get("Content-Type")):
		parsed, err := kernel.DecodeJSON(a.body)
		if err == nil {
			if len(a.secrets) > 0 {
				parsed = a.secrets.ScrubAll(parsed)
			}
			value["body"] = parsed
			break
		}
		fallthrough
	default:
		if text := bytes.TrimPrefix(a.body, []byte("\ufeff")); utf8.Valid(text) && !bytes.ContainsRune(text, 0) {
			value["body"] = string(text)
		} else {
			reply.Body = a.body
		}
	}
	return reply
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && (media == "application/json" || strings.HasSuffix(media, "+json"))
}

func badCall(call *kernel.PortCall, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: call.Op + ": " + fmt.Sprintf(format, args...)}
}
