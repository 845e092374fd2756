package mcpport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
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

	base context.Context // ends with close
	stop context.CancelFunc
	live sync.WaitGroup // those who watch sessions

	connecting chan struct{} // held by whoever connects; made with the first call

	mu      sync.Mutex
	session *mcp.ClientSession
	since   time.Time        // of the session
	tools   map[string]*tool // of the session; nil until they are asked for
	version uint64           // of the pins that they were held to
	listed  time.Time        // when they were, or could not be
	unfit   error            // why they could not be, and will not be when they are asked for again at once
	backOff time.Duration
	retryAt time.Time
	why     error // the last failure
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
	s.session, s.since, s.tools, s.unfit = session, time.Now(), nil, nil
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
