package httpport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret"
)

// client is an HTTP client without anything of the environment's.
type client struct{ http.Client }

type control = func(network, address string, conn syscall.RawConn) error

func newClient(check control, redirects int, resolver *net.Resolver) *client {
	dialer := &net.Dialer{Timeout: connectTimeout, Control: check, Resolver: resolver}
	c := &client{}
	c.Transport = &http.Transport{
		Proxy:                  nil,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    connectTimeout,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConnsPerHost:    maxConnections,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: maxReplyHeader,
		ForceAttemptHTTP2:      true,
	}
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if redirects < 0 || !followed(req, via[len(via)-1]) {
			return http.ErrUseLastResponse
		}
		if len(via) > redirects {
			return &redirectsError{redirects}
		}
		return nil
	}
	return c
}

// Client returns a client of one server, by its URL, within the rules of the port: no proxy, no redirects, and no address that is not
// public but those of allow. It is for what talks a protocol of its own.
func Client(server string, allow []string) (*http.Client, error) {
	u, err := parseURL(server)
	if err != nil {
		return nil, configError("write https://host/path", "%s is no address of a server: %s", kernel.Quote(server), kernel.Quote(err.Error()))
	}
	p, err := New(Config{Hosts: []string{u.Host}, AllowAddresses: allow})
	if err != nil {
		return nil, err
	}
	return &newClient(p.checkAddress, -1, nil).Client, nil
}

type redirectsError struct{ limit int }

func (e *redirectsError) Error() string {
	return fmt.Sprintf("max_redirects of the http port is %d", e.limit)
}

// followed reports whether a redirect stays where the request was allowed to go. It
// makes the host of the next request canonical, too.
func followed(next, last *http.Request) bool {
	u, err := parseURL(next.URL.String())
	if err != nil || u.Host != last.URL.Host || last.URL.Scheme == "https" && u.Scheme != "https" {
		return false
	}
	next.URL, next.Host = u, u.Host
	return true
}

// answer is what a server answered.
type answer struct {
	status int
	header http.Header
	body   []byte

	secrets secret.Values // that the request took
}

// do sends a request and reads the whole answer, up to the limit.
func (p *Port) do(ctx context.Context, req *http.Request, timeout time.Duration) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	p.tracer.Propagate(ctx, req.URL.Host, req.Header)
	resp, err := p.client.Do(req.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	p.tracer.Answered(ctx, req.Method, req.URL.Hostname(), resp.StatusCode)
	body, err := io.ReadAll(io.LimitReader(resp.Body, p.response+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > p.response {
		return nil, &kernel.Error{Code: kernel.CodeLimit, What: "the answer of " + kernel.Quote(req.URL.Host) + " is too large",
			Why: fmt.Sprintf("it has more than %d bytes, max_response_bytes of the http port", p.response), Fix: "ask for less, or raise the limit"}
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

// requestError gives a failed request its code. What the network said is left out
// where it could tell a guest about the network.
func requestError(ctx context.Context, host string, timeout time.Duration, err error) error {
	var known *kernel.Error
	var address *addressError
	var redirects *redirectsError
	host = kernel.Quote(host)
	var dns *net.DNSError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &address):
		return &kernel.Error{Code: kernel.CodeDenied, What: "requests to " + host + " are denied", Why: address.Error(), Fix: "if it is to be reached, list the address under allow_addresses of the http port"}
	case ctx.Err() != nil:
		return kernel.ContextError(ctx)
	case errors.As(err, &redirects):
		return &kernel.Error{Code: kernel.CodeLimit, What: host + " redirects too often", Why: redirects.Error(), Fix: "request where it leads to"}
	case errors.Is(err, context.DeadlineExceeded):
		return &kernel.Error{Code: kernel.CodeTimeout, What: host + " did not answer in time", Why: fmt.Sprintf("the limit is %s", timeout), Fix: "raise timeout of the http port"}
	case errors.As(err, &dns):
		return &kernel.Error{Code: kernel.CodeUnavailable, What: host + " cannot be found", Why: "its name cannot be resolved", Fix: "check the URL"}
	}
	var protocol *net.OpError
	why := "the connection failed"
	if !errors.As(err, &protocol) {
		why = kernel.Quote(cause(err))
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: host + " cannot be reached, or broke off", Why: why, Fix: "check that it runs"}
}

// cause is an error without the URL that the client puts before it.
func cause(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
