package artifacts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
)

// inGuest has the caller be a module's call.
func (c caller) inGuest() (caller, *kernel.GuestCall) {
	g := &kernel.GuestCall{}
	c.ctx = kernel.WithGuestCall(c.ctx, g)
	return c, g
}

// readAll reads an open artifact to its end.
func (c caller) readAll(t *testing.T, handle any, limit int) []byte {
	t.Helper()
	var all []byte
	for {
		v, body := c.must(t, "read", map[string]any{"handle": handle, "limit": kernel.Number(int64(limit))}, nil)
		if v["offset"] != kernel.Number(int64(len(all))) || len(body) > limit {
			t.Fatalf("%v and %d bytes behind %d", v, len(body), len(all))
		}
		if all = append(all, body...); v["end"] == true {
			return all
		}
	}
}

func TestStreamOps(t *testing.T) {
	for _, size := range []int{0, 1, 1000, 64 << 10, 5<<20 + 7} { // the last in pieces
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			callers, _ := newCallers(t, artifacts.Options{}, "run-1")
			c, g := callers[0].inGuest()
			data := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
			made, _ := c.must(t, "create", map[string]any{"name": "big", "content_type": "text/plain", "metadata": map[string]any{"k": "v"}}, nil)
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 30_000)
				c.must(t, "write", map[string]any{"handle": made["handle"]}, rest[:n])
				rest = rest[n:]
			}
			stored, _ := c.must(t, "close", map[string]any{"handle": made["handle"]}, nil)
			if stored["size"] != kernel.Number(int64(size)) {
				t.Errorf("%v", stored)
			}
			whole, _ := c.must(t, "store", map[string]any{"name": "big", "content_type": "text/plain", "metadata": map[string]any{"k": "v"}}, append([]byte{}, data...))
			if whole["id"] != stored["id"] {
				t.Errorf("as a stream it is %v, at once %v", stored, whole)
			}
			opened, _ := c.must(t, "open", map[string]any{"id": stored["id"], "name": "big"}, nil)
			if opened["size"] != stored["size"] || opened["content_type"] != "text/plain" {
				t.Errorf("%v", opened)
			}
			for range 2 {
				if got := c.readAll(t, opened["handle"], 100_000); !bytes.Equal(got, data) && got != nil {
					t.Errorf("%d bytes are not those that were written", len(got))
				}
				c.must(t, "close", map[string]any{"handle": opened["handle"]}, nil)
				opened, _ = c.must(t, "open", map[string]any{"id": stored["id"]}, nil)
			}
			g.End()
		})
	}
}

func TestStreamsEndWithTheCall(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1")
	c, g := callers[0].inGuest()
	made, _ := c.must(t, "create", map[string]any{"name": "half"}, nil)
	c.must(t, "write", map[string]any{"handle": made["handle"]}, []byte("half of it"))
	g.End()
	if list, err := s.List(t.Context(), "run-1"); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	next, _ := callers[0].inGuest()
	for op, args := range map[string]map[string]any{"write": {}, "read": {}, "close": {}} {
		args["handle"] = made["handle"]
		for _, c := range []caller{c, next} {
			_, err := c.call(op, args, nil)
			wantCode(t, op+" after the call", err, kernel.CodeNotFound)
			if !strings.Contains(err.Error(), "not opened in this call") {
				t.Error(err)
			}
		}
	}
}

func TestStreamLimits(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{MaxSize: 100}, "run-1", "run-2")
	c, g := callers[0].inGuest()
	defer g.End()
	a, _ := c.must(t, "store", map[string]any{"name": "a"}, []byte("12345678"))
	refused := func(code kernel.Code, op string, args map[string]any, body []byte, words ...string) {
		t.Helper()
		_, err := c.call(op, args, body)
		wantCode(t, op, err, code)
		for _, w := range words {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%v does not say %q", err, w)
			}
		}
	}
	var first, last any
	for i := range 16 {
		opened, _ := c.must(t, "open", map[string]any{"id": a["id"]}, nil)
		if last = opened["handle"]; i == 0 {
			first = last
		}
	}
	refused(kernel.CodeLimit, "open", map[string]any{"id": a["id"]}, nil, "at most 16", "artifacts.close")
	refused(kernel.CodeLimit, "create", map[string]any{"name": "b"}, nil, "at most 16")
	c.must(t, "close", map[string]any{"handle": last}, nil)
	made, _ := c.must(t, "create", map[string]any{"name": "b", "size": json.Number("5")}, nil)
	c.must(t, "write", map[string]any{"handle": made["handle"]}, []byte("12345"))
	refused(kernel.CodeLimit, "write", map[string]any{"handle": made["handle"]}, []byte("6"), "larger than was declared", "size 5")
	refused(kernel.CodeNotFound, "read", map[string]any{"handle": made["handle"]}, nil)
	c.must(t, "close", map[string]any{"handle": made["handle"]}, nil)

	made, _ = c.must(t, "create", map[string]any{"name": "c"}, nil)
	for range 20 {
		if _, err := c.call("write", map[string]any{"handle": made["handle"]}, bytes.Repeat([]byte("x"), 10)); err != nil {
			break
		}
	}
	refused(kernel.CodeLimit, "close", map[string]any{"handle": made["handle"]}, nil, "at most 100 bytes")
	refused(kernel.CodeLimit, "open", map[string]any{"id": a["id"], "size": json.Number("7")}, nil, "larger than the call allows")
	refused(kernel.CodeLimit, "retrieve", map[string]any{"id": a["id"], "size": json.Number("7")}, nil, "it has 8 bytes")
	refused(kernel.CodeLimit, "store", map[string]any{"name": "d", "size": json.Number("1")}, []byte("12"), "declared")
	refused(kernel.CodeArguments, "create", map[string]any{"name": "../d"}, nil)
	refused(kernel.CodeArguments, "create", map[string]any{"name": "d", "size": "x"}, nil, "whole number of bytes")
	refused(kernel.CodeArguments, "read", map[string]any{"handle": first, "limit": json.Number("-1")}, nil)
	refused(kernel.CodeNotFound, "open", map[string]any{"id": a["id"], "name": "other"}, nil)

	other, end := callers[1].inGuest()
	defer end.End()
	_, err := other.call("open", map[string]any{"id": a["id"]}, nil)
	wantCode(t, "another run's", err, kernel.CodeNotFound)
	_, err = callers[0].call("create", map[string]any{"name": "n"}, nil)
	wantCode(t, "outside of a module", err, kernel.CodeUnsupported)
	if list, err := s.List(t.Context(), "run-1"); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
}

// What is written carries the labels of all that went into it, and of what is read they are learned.
func TestStreamLabels(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1")
	c, g := callers[0].inGuest()
	defer g.End()
	secret, err := kernel.NewLabels(kernel.Trusted, kernel.Secret, "a")
	if err != nil {
		t.Fatal(err)
	}
	made, _ := c.must(t, "create", map[string]any{"name": "x"}, nil)
	for _, op := range c.ops {
		if op.Name == "artifacts.write" {
			if _, err := op.Func(c.ctx, &kernel.PortCall{Op: op.Name, Args: map[string]any{"handle": made["handle"]}, Body: []byte("x"), Labels: secret}); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored, _ := c.must(t, "close", map[string]any{"handle": made["handle"]}, nil)
	a, err := s.Describe(t.Context(), stored["id"].(string))
	if err != nil || a.Labels.String() != secret.String() {
		t.Errorf("%v, %v", a.Labels, err)
	}
	reply, err := c.call("open", map[string]any{"id": a.ID}, nil)
	if err != nil || reply.Labels.String() != secret.String() {
		t.Errorf("%v, %v", reply, err)
	}
}

// cutShort is a bucket whose content ends too soon, as a response does whose connection is lost.
type cutShort struct{ driver.Bucket }

type cutReader struct{ io.ReadCloser }

func (b cutShort) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	r, o, err := b.Bucket.Open(ctx, key)
	if err == nil && strings.HasPrefix(key, "content/") {
		r = &cutReader{r}
	}
	return r, o, err
}

func (r *cutReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p[:min(len(p), 10)])
	if err == nil && n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// What ends too soon is not taken for the whole.
func TestStreamCutShort(t *testing.T) {
	bucket := memartifacts.NewBucket()
	a, err := artifacts.New(bucket, artifacts.Options{}).Store(t.Context(), "run-1", "a", strings.NewReader(strings.Repeat("x", 1000)), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, g := caller{kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "run-1"}), artifacts.New(cutShort{bucket}, artifacts.Options{}).Ops()}.inGuest()
	defer g.End()
	opened, _ := c.must(t, "open", map[string]any{"id": a.ID}, nil)
	reply, err := c.call("read", map[string]any{"handle": opened["handle"]}, nil)
	if err == nil {
		t.Errorf("%v, %d bytes of 1000", reply.Value, len(reply.Body))
	}
}

// What was open before a call waited is not what the same call opens afterwards.
func TestStreamHandlesAreTheCalls(t *testing.T) {
	callers, _ := newCallers(t, artifacts.Options{}, "run-1")
	before, g := callers[0].inGuest()
	made, _ := before.must(t, "create", map[string]any{"name": "private"}, nil)
	g.End()
	after, g := callers[0].inGuest()
	defer g.End()
	after.must(t, "create", map[string]any{"name": "public"}, nil)
	_, err := after.call("write", map[string]any{"handle": made["handle"]}, []byte("private words"))
	wantCode(t, "a handle of another call", err, kernel.CodeNotFound)
}

// Its parents are what the node has read until it is closed.
func TestStreamParents(t *testing.T) {
	callers, s := newCallers(t, artifacts.Options{}, "run-1")
	c, g := callers[0].inGuest()
	defer g.End()
	from, _ := c.must(t, "store", map[string]any{"name": "from"}, []byte("x"))
	made, _ := c.must(t, "create", map[string]any{"name": "to"}, nil)
	c.must(t, "open", map[string]any{"id": from["id"]}, nil)
	stored, _ := c.must(t, "close", map[string]any{"handle": made["handle"]}, nil)
	a, err := s.Describe(t.Context(), stored["id"].(string))
	if err != nil || len(a.Origin.Parents) != 1 || a.Origin.Parents[0] != from["id"] {
		t.Errorf("%+v, %v", a, err)
	}
}

// stuck is a bucket that does not answer until the call's context ends.
type stuck struct{ driver.Bucket }

func (b stuck) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	if strings.HasPrefix(key, "content/") {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	return b.Bucket.Open(ctx, key)
}

// An operation's own time ends the opening, though what is opened would outlive it.
func TestStreamOpenInTime(t *testing.T) {
	bucket := memartifacts.NewBucket()
	a, err := artifacts.New(bucket, artifacts.Options{}).Store(t.Context(), "run-1", "a", strings.NewReader("x"), artifacts.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c, g := caller{kernel.WithRun(t.Context(), &kernel.RunContext{RunID: "run-1"}), artifacts.New(stuck{bucket}, artifacts.Options{}).Ops()}.inGuest()
	defer g.End()
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Millisecond)
	defer cancel()
	c.ctx = ctx
	_, err = c.call("open", map[string]any{"id": a.ID}, nil)
	if err == nil || ctx.Err() == nil {
		t.Errorf("%v before its time was up", err)
	}
}
