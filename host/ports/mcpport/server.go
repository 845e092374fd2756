package mcpport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/schema"
	"github.com/hexdag/hexdag/host/toolpins"
)

// server is one server, connected or not.
type server struct {
	name    string
	config  *ServerConfig
	pins    *toolpins.Store
	log     *slog.Logger
	dir     string
	timeout time.Duration
	most    int64        // bytes of a result
	client  *http.Client // of a URL
	overran atomic.Bool  // the URL's answer was cut

	base context.Context // ends with close
	stop context.CancelFunc
	live sync.WaitGroup // those who watch sessions

	connecting chan struct{} // held by whoever connects; made with the first call

	mu      sync.Mutex
	session *mcp.ClientSession
	since   time.Time        // of the session
	tools   map[string]*tool // of the session; nil until they are asked for
	version uint64           // of the pins that they were held to
	listed  time.Time
	backOff time.Duration
	retryAt time.Time
	why     error // the last failure
}

// tool is a tool of a server.
type tool struct {
	definition toolpins.Definition
	input      *schema.Schema // nil where it cannot be held to here: the server holds it to that
	admitted   bool
}

func (s *server) where() string { return "MCP server " + kernel.Quote(s.name) }

// use returns the session, and connects where there is none.
func (s *server) use(ctx context.Context) (*mcp.ClientSession, error) {
	s.mu.Lock()
	if s.connecting == nil {
		s.connecting = make(chan struct{}, 1)
	}
	gate := s.connecting
	s.mu.Unlock()
	select {
	case gate <- struct{}{}:
		defer func() { <-gate }()
	case <-ctx.Done():
		return nil, kernel.ContextError(ctx)
	}
	s.mu.Lock()
	session, retryAt, why := s.session, s.retryAt, s.why
	s.mu.Unlock()
	switch {
	case session != nil:
		return session, nil
	case s.base.Err() != nil:
		return nil, &kernel.Error{Code: kernel.CodeUnavailable, What: s.where() + " is closed"}
	case time.Now().Before(retryAt):
		return nil, s.gone(why, time.Until(retryAt))
	}
	session, err := s.connect(ctx)
	if err != nil {
		if ctx.Err() != nil && s.base.Err() == nil && errors.Is(err, ctx.Err()) {
			return nil, kernel.ContextError(ctx)
		}
		s.failed(err)
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, s.gone(err, time.Until(s.retryAt))
	}
	return session, nil
}

// gone is the error of a server that is not there.
func (s *server) gone(why error, wait time.Duration) error {
	text := "it has ended"
	if why != nil {
		text = kernel.Quote(why.Error())
	}
	return &kernel.Error{Code: kernel.CodeUnavailable, What: s.where() + " is not there", Why: text, Fix: fmt.Sprintf("see that it runs; it is tried again in %s", max(wait, 0).Round(100*time.Millisecond)), Err: why}
}

// connect starts a session, whose end is watched.
func (s *server) connect(ctx context.Context) (*mcp.ClientSession, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	client := mcp.NewClient(&mcp.Implementation{Name: "hexdag", Version: "1"}, &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{}, Logger: slog.New(slog.DiscardHandler),
	})
	session, err := client.Connect(ctx, s.link(), nil)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.session, s.since, s.tools = session, time.Now(), nil
	s.mu.Unlock()
	s.live.Go(func() {
		err := session.Wait()
		s.ended(session, err)
	})
	return session, nil
}

// ended notes that a session is over.
func (s *server) ended(session *mcp.ClientSession, err error) {
	s.mu.Lock()
	mine := s.session == session
	if mine {
		s.session, s.tools = nil, nil
		if time.Since(s.since) > longestBackOff {
			s.backOff = 0
		}
	}
	s.mu.Unlock()
	if mine && s.base.Err() == nil {
		if err == nil {
			err = errors.New("it has ended")
		}
		s.failed(err)
		s.log.Warn("an MCP server has ended", "server", s.name, "error", kernel.Quote(err.Error()))
	}
}

// failed has the next attempt wait.
func (s *server) failed(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backOff = min(max(2*s.backOff, firstBackOff), longestBackOff)
	s.retryAt, s.why = time.Now().Add(s.backOff), err
}

// drop closes a session that cannot be used any more.
func (s *server) drop(session *mcp.ClientSession) { _ = session.Close() }

func (s *server) close() {
	s.stop()
	s.mu.Lock()
	session := s.session
	s.mu.Unlock()
	if session != nil {
		_ = session.Close() // it is ended in any case
	}
	s.live.Wait()
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
}

// toolsOf returns the tools of the server that may be called, and those that may not because they have changed.
func (s *server) toolsOf(ctx context.Context, session *mcp.ClientSession) (map[string]*tool, error) {
	s.mu.Lock()
	known, version, listed := s.tools, s.version, s.listed
	s.mu.Unlock()
	if known != nil && time.Since(listed) < listEvery && s.pins.Version() == version {
		return known, nil
	}
	found := map[string]*tool{}
	definitions := map[string]*toolpins.Definition{}
	size := 0
	for t, err := range session.Tools(ctx, nil) {
		if err != nil {
			return nil, s.said(ctx, session, err)
		}
		d, err := definitionOf(t)
		if err != nil {
			return nil, &kernel.Error{Code: kernel.CodeFailed, What: s.where() + " tells of a tool that cannot be used", Why: kernel.Quote(err.Error()), Fix: "see the server"}
		}
		if size += len(d.Name) + len(d.Description) + len(d.InputSchema) + len(d.OutputSchema); size > maxDefinitions || len(found) >= maxTools {
			return nil, &kernel.Error{Code: kernel.CodeLimit, What: s.where() + " tells of too many tools", Why: fmt.Sprintf("the limits are %d tools, and %d bytes of what they tell of themselves", maxTools, maxDefinitions), Fix: "have the server offer fewer"}
		}
		if found[d.Name] != nil || !s.allows(d.Name) {
			continue // of two of one name the first counts
		}
		found[d.Name] = &tool{definition: *d, input: inputOf(d.InputSchema)}
		definitions[s.id(d.Name)] = d
	}
	admitted, err := s.pins.Admit(ctx, definitions)
	if err != nil {
		return nil, err
	}
	for name, t := range found {
		t.admitted = admitted[s.id(name)]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session == session {
		s.tools, s.version, s.listed = found, s.pins.Version(), time.Now()
	}
	return found, nil
}

// id is how a tool is pinned.
func (s *server) id(tool string) string { return "mcp:" + s.name + "." + tool }

func definitionOf(t *mcp.Tool) (*toolpins.Definition, error) {
	d := &toolpins.Definition{Name: t.Name, Description: t.Description}
	for _, part := range []struct {
		from any
		to   *json.RawMessage
	}{{t.InputSchema, &d.InputSchema}, {t.OutputSchema, &d.OutputSchema}, {t.Annotations, &d.Annotations}} {
		if part.from == nil {
			continue
		}
		text, err := json.Marshal(part.from)
		if err != nil {
			return nil, err
		}
		*part.to = text
	}
	if t.Name == "" || len(t.Name) > 128 {
		return nil, fmt.Errorf("its name has %d bytes", len(t.Name))
	}
	_, err := d.Hash() // there is none of what nests too deeply
	return d, err
}

// inputOf compiles a schema, if it is one of those that are cheap to apply.
func inputOf(text []byte) *schema.Schema {
	v, err := kernel.DecodeJSON(text)
	doc, ok := v.(map[string]any)
	if err != nil || !ok {
		return nil
	}
	s, err := schema.Compile(doc)
	if err != nil {
		return nil
	}
	return s
}
