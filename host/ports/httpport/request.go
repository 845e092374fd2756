package httpport

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/hexdag/hexdag/host/kernel"
)

// arguments are those that an operation takes.
var arguments = []string{"url", "method", "headers", "params", "json", "json_body", "body", "timeout"}

// parse makes a request of a call. method is the operation's, if it has one.
func (p *Port) parse(call *kernel.PortCall, method string) (*http.Request, error) {
	for name := range call.Args {
		if !slices.Contains(arguments, name) {
			return nil, badCall(call, "unknown argument %s; it takes %s", kernel.Quote(name), strings.Join(arguments, ", "))
		}
	}
	if _, named := call.Args["method"]; method != "" && named {
		return nil, badCall(call, "the method is %s; use http.request for any", method)
	}
	if method == "" {
		var err error
		if method, err = methodOf(call.Args); err != nil {
			return nil, badCall(call, "%v", err)
		}
	}
	rawURL, ok := call.Args["url"].(string)
	if !ok {
		return nil, badCall(call, "url must be a text")
	}
	u, err := parseURL(rawURL)
	if err != nil {
		return nil, err
	}
	if err := addParams(call, u); err != nil {
		return nil, err
	}
	body, contentType, err := p.body(call)
	if err != nil {
		return nil, err
	}
	req := &http.Request{Method: method, URL: u, Host: u.Host, Header: http.Header{}}
	if err := addHeaders(call, req.Header); err != nil {
		return nil, err
	}
	if body != nil {
		setBody(req, body, contentType)
	}
	if _, set := req.Header["User-Agent"]; !set {
		req.Header.Set("User-Agent", defaultUserAgent)
	}
	return req, nil
}

// setBody gives a request a body that can be sent again where a redirect asks for it.
func setBody(req *http.Request, body []byte, contentType string) {
	fresh, err := http.NewRequest(req.Method, "http://host", bytes.NewReader(body))
	if err != nil {
		return // the method and the URL are known to be good
	}
	req.Body, req.GetBody, req.ContentLength = fresh.Body, fresh.GetBody, fresh.ContentLength
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", contentType)
	}
}

// body returns what a call sends, nil for nothing, and what it is.
func (p *Port) body(call *kernel.PortCall) (body []byte, contentType string, err error) {
	given := 0
	for _, name := range []string{"json", "json_body"} {
		if v, ok := call.Args[name]; ok {
			given++
			if body, err = kernel.EncodeJSON(v); err != nil {
				return nil, "", badCall(call, "%s is no JSON: %v", name, err)
			}
			contentType = "application/json"
		}
	}
	if v, ok := call.Args["body"]; ok {
		given++
		text, isText := v.(string)
		if !isText {
			return nil, "", badCall(call, "body must be a text; json takes any value")
		}
		body, contentType = []byte(text), "text/plain; charset=utf-8"
	}
	if len(call.Body) > 0 {
		given++
		body, contentType = call.Body, "application/octet-stream"
	}
	if given > 1 {
		return nil, "", badCall(call, "give one of json, body and the call's bytes")
	}
	if int64(len(body)) > p.request {
		return nil, "", &kernel.Error{Code: kernel.CodeLimit, What: call.Op + ": the body is too large", Why: fmt.Sprintf("it has %d bytes, max_request_bytes of the http port is %d", len(body), p.request), Fix: "send less, or raise the limit"}
	}
	return body, contentType, nil
}

// addParams adds to a URL's query.
func addParams(call *kernel.PortCall, u *url.URL) error {
	v, given := call.Args["params"]
	if !given || v == nil {
		return nil
	}
	params, ok := v.(map[string]any)
	if !ok {
		return badCall(call, "params must be an object")
	}
	query := url.Values{}
	for name, value := range params {
		list, isList := value.([]any)
		if !isList {
			list = []any{value}
		}
		for _, item := range list {
			text, err := scalar(item)
			if err != nil {
				return badCall(call, "params: %s must be a scalar, or a list of them", kernel.Quote(name))
			}
			query.Add(name, text)
		}
	}
	if encoded := query.Encode(); encoded != "" {
		u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+encoded, "&")
	}
	if len(u.String()) > maxURL {
		return badCall(call, "the URL with its params has %d bytes, the limit is %d", len(u.String()), maxURL)
	}
	return nil
}

func scalar(v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		return fmt.Sprint(v), nil
	case json.Number:
		return v.String(), nil
	}
	return "", fmt.Errorf("%T is no scalar", v)
}

// ours are headers that say how a message travels, which is not the caller's to say.
var ours = []string{"Host", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Expect", "Accept-Encoding", "Http2-Settings"}

// addHeaders takes a call's headers.
func addHeaders(call *kernel.PortCall, header http.Header) error {
	v, given := call.Args["headers"]
	if !given || v == nil {
		return nil
	}
	headers, ok := v.(map[string]any)
	if !ok {
		return badCall(call, "headers must be an object of names and texts")
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		value, err := scalar(headers[name])
		canonical := http.CanonicalHeaderKey(name)
		switch {
		case err != nil || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return badCall(call, "header %s cannot be sent: its name is a token, and its value one line of text", kernel.Quote(name))
		case slices.Contains(ours, canonical) || strings.HasPrefix(canonical, "Proxy-"):
			return badCall(call, "header %s is the host's own", kernel.Quote(name))
		case header[canonical] != nil:
			return badCall(call, "header %s is there twice", kernel.Quote(name))
		}
		header[canonical] = []string{value}
		size += len(name) + len(value)
	}
	if len(headers) > maxHeaders || size > maxHeaderBytes {
		return &kernel.Error{Code: kernel.CodeLimit, What: call.Op + ": the headers are too large", Why: fmt.Sprintf("they are %d of %d bytes, the limits are %d and %d", len(headers), size, maxHeaders, maxHeaderBytes), Fix: "send what is large as the body"}
	}
	return nil
}
