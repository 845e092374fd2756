package mcpport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"sync/atomic"

	"github.com/hexdag/hexdag/host/ports/httpport"
)

// webClient returns a client that reaches the server's addresses alone, within the rules of the http port: no redirects, no proxy,
// and what is not public only where it is listed.
func (s *server) webClient() (*http.Client, error) {
	client, err := httpport.Client(s.config.URL, s.config.AllowAddresses)
	if err != nil {
		return nil, err
	}
	client.Transport = &transport{next: client.Transport, headers: s.config.Headers, most: s.most + slack}
	return client, nil
}

// transport puts the configured headers on requests, and cuts answers that are too large: the call that an answer is to, and no other,
// fails.
type transport struct {
	next    http.RoundTripper
	headers map[string]string
	most    int64 // bytes of an answer
}

// errTooLarge is the end of what a server says that is more than it may.
var errTooLarge = errors.New("the server says more than max_result_bytes")

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range t.headers {
		r.Header.Set(name, value)
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	body := &capped{ReadCloser: resp.Body, left: t.most, cut: cutOf(r.Context())}
	resp.Body = body
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind != "application/json" {
		return resp, nil
	}
	// An answer that breaks off while the library reads it ends the whole session, with every call that is under way.
	text, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(text))
	return resp, nil
}

// CloseIdleConnections closes those of the transport below.
func (t *transport) CloseIdleConnections() {
	if next, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		next.CloseIdleConnections()
	}
}

// cutKey is the context's key of whether an answer to a call was cut: of one that comes as a stream the library tells no reason.
type cutKey struct{}

func noteCut(ctx context.Context) (context.Context, *atomic.Bool) {
	cut := new(atomic.Bool)
	return context.WithValue(ctx, cutKey{}, cut), cut
}

func cutOf(ctx context.Context) *atomic.Bool {
	if cut, ok := ctx.Value(cutKey{}).(*atomic.Bool); ok {
		return cut
	}
	return new(atomic.Bool) // of a message that nobody waits for
}

type capped struct {
	io.ReadCloser
	left int64
	cut  *atomic.Bool
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		c.cut.Store(true)
		return 0, errTooLarge
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
