package artifacts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/hexdag/hexdag/host/kernel"
)

// How much one call moves.
const (
	defaultChunk = 64 << 10 // that artifacts.read answers with, unless it is asked for another
	maxChunk     = 1 << 20
)

// maxCreated is how many artifacts a call creates at once: each has some MiB in memory.
const maxCreated = 4

// reading is an artifact that a module's call reads piece by piece.
type reading struct {
	artifact *Artifact

	mu      sync.Mutex
	content io.ReadCloser // verified
	offset  int64
	stop    context.CancelFunc
}

// Close implements kernel.Handle.
func (r *reading) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.content.Close()
	r.stop()
}

// writing is an artifact that a module's call writes piece by piece. It is there once it
// is committed.
type writing struct {
	pipe *io.PipeWriter
	stop context.CancelFunc
	done chan struct{} // closed once these are set
	made *Artifact
	err  error

	mu   sync.Mutex
	size int64
	max  int64 // that the call has declared; negative: as many as the store takes
	seen *kernel.Flow
}

// Close implements kernel.Handle: there is no artifact.
func (w *writing) Close() {
	w.pipe.CloseWithError(errors.New("the call has ended"))
	w.stop()
	<-w.done
}

// commit ends the content, and returns the artifact.
func (w *writing) commit() (*Artifact, error) {
	defer w.stop()
	_ = w.pipe.Close() // never fails
	<-w.done
	return w.made, w.err
}

// guest returns the module's call that a stream is for.
func guest(ctx context.Context, call *kernel.PortCall) (*kernel.GuestCall, error) {
	if g := kernel.GuestCallFrom(ctx); g != nil {
		return g, nil
	}
	return nil, &kernel.Error{Code: kernel.CodeUnsupported, What: call.Op + " is for modules", Why: "what it opens is closed where the module's call ends", Fix: "use artifacts.store and artifacts.retrieve"}
}

// keepOpen adds a handle to the call's and returns its name.
func keepOpen(g *kernel.GuestCall, h kernel.Handle) (string, error) {
	_, writes := h.(*writing)
	created := g.Count(func(h kernel.Handle) bool { _, other := h.(*writing); return other })
	name, ok := "", false
	if !writes || created < maxCreated {
		name, ok = g.Open(h)
	}
	if !ok {
		h.Close()
		return "", &kernel.Error{Code: kernel.CodeLimit, What: "too many artifacts are open", Why: "one call of a module has at most 16 open at once, and 4 that it creates", Fix: "close one with artifacts.close"}
	}
	return name, nil
}

func noHandle(name string) error {
	return &kernel.Error{Code: kernel.CodeNotFound, What: "there is no open artifact " + kernel.Quote(name), Why: "it was not opened in this call, or it is closed; a call that has waited for an approval begins with none open", Fix: "open it with artifacts.open, or artifacts.create"}
}

// handle returns the open artifact that a call names.
func handle[H kernel.Handle](ctx context.Context, call *kernel.PortCall, known ...string) (h H, g *kernel.GuestCall, name string, err error) {
	if _, err = begin(ctx, call, append(known, "handle")...); err != nil {
		return h, nil, "", err
	}
	if g, err = guest(ctx, call); err != nil {
		return h, nil, "", err
	}
	if name, err = text(call, "handle"); err != nil {
		return h, nil, "", err
	}
	h, ok := g.Handle(name).(H)
	if !ok {
		return h, nil, "", noHandle(name)
	}
	return h, g, name, nil
}

func (s *Store) opOpen(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	a, err := s.own(ctx, call)
	if err != nil {
		return nil, err
	}
	g, err := guest(ctx, call)
	if err != nil {
		return nil, err
	}
	whole, stop := context.WithCancel(g.Context)
	opened := context.AfterFunc(ctx, stop)
	content, a, err := s.Retrieve(whole, a.ID)
	if !opened() && err == nil { // its time was up meanwhile
		err = errors.Join(kernel.ContextError(ctx), content.Close())
	}
	if err != nil {
		stop()
		return nil, err
	}
	name, err := keepOpen(g, &reading{artifact: a, content: content, stop: stop})
	if err != nil {
		return nil, err
	}
	kernel.RunFrom(ctx).ReadArtifact(call.Node, a.ID)
	value := a.value()
	value["handle"] = name
	return &kernel.PortReply{Value: value, Labels: a.Labels}, nil
}

func (s *Store) opRead(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	r, _, _, err := handle[*reading](ctx, call, "limit")
	if err != nil {
		return nil, err
	}
	limit, err := amount(call, "limit", defaultChunk)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	chunk := make([]byte, min(limit, maxChunk, max(r.artifact.Size-r.offset, 0)+1)) // one more: the end says whether all was right
	defer context.AfterFunc(ctx, r.stop)()
	n, end := 0, false
	for n < len(chunk) && !end {
		m, err := r.content.Read(chunk[n:])
		if n, end = n+m, err == io.EOF; err != nil && !end { // an error that wraps io.EOF is no end
			return nil, s.failed("the artifact could not be read", err)
		}
	}
	offset := r.offset
	r.offset += int64(n)
	return &kernel.PortReply{Value: map[string]any{"offset": number(offset), "end": end}, Body: chunk[:n], Labels: r.artifact.Labels}, nil
}

func (s *Store) opCreate(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	run, err := begin(ctx, call, "name", "content_type", "metadata", "parents", "size")
	if err != nil {
		return nil, err
	}
	g, err := guest(ctx, call)
	if err != nil {
		return nil, err
	}
	name, opts, err := s.described(ctx, run, call)
	if err != nil {
		return nil, err
	}
	most, err := amount(call, "size", -1)
	if err != nil {
		return nil, err
	}
	w := &writing{done: make(chan struct{}), max: most, seen: kernel.NewFlow(call.Labels)}
	opts.Labels = nil
	opts.late = func(m *manifest) { // what the call has read and learned until it is closed
		m.Labels = m.Labels.Join(w.seen.Labels())
		m.Origin.Parents = slices.Compact(slices.Sorted(slices.Values(append(run.ArtifactsRead(call.Node), m.Origin.Parents...))))
	}
	if _, err := newManifest(run.RunID, name, opts); err != nil { // before anything is written
		return nil, err
	}
	data, pipe := io.Pipe()
	whole, stop := context.WithCancel(g.Context)
	w.pipe, w.stop = pipe, stop
	go func() {
		defer close(w.done)
		w.made, w.err = s.Store(whole, run.RunID, name, data, opts)
		data.CloseWithError(orEOF(w.err)) // who writes on is told
	}()
	id, err := keepOpen(g, w)
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: map[string]any{"handle": id}}, nil
}

func orEOF(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

func (s *Store) opWrite(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	w, _, _, err := handle[*writing](ctx, call)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.max >= 0 && w.size+int64(len(call.Body)) > w.max {
		return nil, tooLarge("the artifact is larger than was declared", fmt.Sprintf("artifacts.create was called with size %d", w.max))
	}
	w.seen.Join(call.Labels)
	defer context.AfterFunc(ctx, func() { w.pipe.CloseWithError(ctx.Err()) })()
	n, err := w.pipe.Write(call.Body)
	w.size += int64(n)
	if ctx.Err() != nil {
		return nil, kernel.ContextError(ctx)
	}
	if err != nil {
		return nil, s.failed("the artifact could not be stored", err)
	}
	return &kernel.PortReply{Value: map[string]any{"size": number(w.size)}}, nil
}

func (s *Store) opClose(ctx context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
	_, g, name, err := handle[kernel.Handle](ctx, call)
	if err != nil {
		return nil, err
	}
	h := g.Take(name)
	w, ok := h.(*writing)
	if !ok {
		if h != nil {
			h.Close()
		}
		return &kernel.PortReply{}, nil
	}
	w.seen.Join(call.Labels)
	defer context.AfterFunc(ctx, w.stop)()
	a, err := w.commit()
	if err != nil {
		return nil, err
	}
	return &kernel.PortReply{Value: stored(a)}, nil
}
