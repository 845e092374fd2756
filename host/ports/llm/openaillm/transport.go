package openaillm

import (
	"fmt"
	"io"
	"net/http"
)

// maxResponseBytes bounds what is read of one answer, after decompression.
const maxResponseBytes = 8 << 20

// cappedTransport fails the reading of answers that are too large. The client
// reads them whole, so a bound anywhere later comes too late.
type cappedTransport struct {
	next  http.RoundTripper
	limit int64
}

func (t *cappedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &cappedBody{ReadCloser: resp.Body, limit: t.limit, left: t.limit}
	return resp, nil
}

type cappedBody struct {
	io.ReadCloser
	limit, left int64
}

// Read fails once more than the limit was read, and marks the errors of the
// connection, so that they are not taken for errors of what was read.
func (b *cappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, &tooLargeError{limit: b.limit}
	}
	if err != nil && err != io.EOF {
		err = &brokenOffError{cause: err}
	}
	return n, err
}

type tooLargeError struct{ limit int64 }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("it has more than %d bytes", e.limit)
}

type brokenOffError struct{ cause error }

func (e *brokenOffError) Error() string { return e.cause.Error() }
func (e *brokenOffError) Unwrap() error { return e.cause }
