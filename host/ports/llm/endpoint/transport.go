package endpoint

import (
	"fmt"
	"io"
	"net/http"
	"strings"
)

// The most that is read of one answer, after decompression. A stream says each piece with
// many more bytes around it, and is not kept whole.
const (
	maxResponseBytes = 8 << 20
	maxStreamBytes   = 64 << 20
	maxHeaderBytes   = 256 << 10
)

// exchange is the last answer of a call, which the clients' own errors hold only in part.
type exchange struct {
	status int
	header http.Header
	quiet  bool  // failed is the end, to the client
	failed error // of reading the answer
}

type exchangeKey struct{}

// cappedTransport fails the reading of answers that are too large. The clients
// read them whole, so a bound anywhere later comes too late.
type cappedTransport struct{ next http.RoundTripper }

func (t *cappedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	x, _ := req.Context().Value(exchangeKey{}).(*exchange)
	if x != nil {
		*x = exchange{quiet: x.quiet}
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if x != nil {
		x.status, x.header = resp.StatusCode, resp.Header
	}
	limit := int64(maxResponseBytes)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		limit = maxStreamBytes
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, limit: limit, left: limit, of: x}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	limit, left int64
	failed      error
	of          *exchange // nil outside Call
}

// Read fails once more than the limit was read, and marks the errors of the
// connection, so that they are not taken for errors of what was read.
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.failed != nil {
		return 0, b.failed
	}
	n, err := b.ReadCloser.Read(p)
	switch b.left -= int64(n); {
	case b.left < 0:
		n, b.failed = 0, &tooLargeError{limit: b.limit}
	case err != nil && err != io.EOF:
		b.failed = &brokenOffError{cause: err}
	default:
		return n, err
	}
	if b.of != nil && b.of.quiet {
		b.of.failed, b.failed = b.failed, io.EOF
	}
	return n, b.failed
}

// Close tells no errors: a client would log them.
func (b *cappedBody) Close() error {
	_ = b.ReadCloser.Close()
	return nil
}

type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("it has more than %d bytes", e.limit)
}

type brokenOffError struct{ cause error }

func (e *brokenOffError) Error() string { return e.cause.Error() }
func (e *brokenOffError) Unwrap() error { return e.cause }
