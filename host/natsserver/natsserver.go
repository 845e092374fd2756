// Package natsserver gives a process its connection to NATS JetStream: to a
// cluster that somebody runs, or to a server inside the process that keeps its
// data in a folder. Events and leases are kept there.
//
// Several processes of one user may name the same folder. The first to come runs
// the server and lets the others in through a socket in the folder; when it ends,
// one of them takes over, and connections mend themselves.
package natsserver

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hexdag/hexdag/host/kernel"
)

// Config says where JetStream is. The JSON form is what an operator configures.
type Config struct {
	// URL is a cluster's: "nats://a:4222", several with commas between them. Empty,
	// the server is in the process.
	URL         string `json:"url"`
	Credentials string `json:"credentials"` // a file of NATS credentials, for a cluster
	CA          string `json:"ca"`          // a file of certificates in PEM that sign the cluster's

	// Folder is where the server in the process keeps its data. It is made if need be.
	Folder string `json:"folder"`
	// SyncAlways has everything on the disk before it is acknowledged; nil is true.
	// Without it the last two minutes may be lost when the machine stops, though not
	// when the process does.
	SyncAlways *bool `json:"sync_always"`
	MaxBytes   int64 `json:"max_bytes"` // that all streams together may be promised; 0 is no limit but the disk's

	Timeout time.Duration `json:"-"` // of connecting; 0 is 10 s
}

const (
	defaultTimeout = 10 * time.Second
	// answerTime is how long a folder's server may take to greet; one that ends lets it pass.
	answerTime = time.Second
)

// Check returns a CodeConfig error for a configuration that cannot be.
func (c *Config) Check() error {
	bad := func(why, fix string) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of NATS cannot be used", Why: why, Fix: fix}
	}
	switch {
	case c.URL == "" && c.Folder == "":
		return bad("neither url nor folder is set", "set url for a cluster, or folder for a server in this process")
	case c.URL != "" && (c.Folder != "" || c.SyncAlways != nil || c.MaxBytes != 0):
		return bad("folder, sync_always and max_bytes are a server's in this process, and url is set", "remove them, or url")
	case c.URL == "" && (c.Credentials != "" || c.CA != ""):
		return bad("credentials and ca are for a cluster, and url is not set", "set url, or remove them")
	case c.MaxBytes < 0 || c.Timeout < 0:
		return bad("a limit is negative", "leave it out for the default")
	}
	return nil
}

// Server is a connection to JetStream, and the server if that is in this process.
// It may be used by several goroutines.
type Server struct {
	conn *nats.Conn
	js   jetstream.JetStream
	node *node // nil for a cluster's
}

// Open connects. Where there is to be a server in the process and nobody runs it,
// it is started. The error has CodeConfig, or CodeUnavailable where there is no
// JetStream to be had.
func Open(ctx context.Context, c Config) (*Server, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	s := &Server{}
	opts := []nats.Option{
		nats.Name("hexdag"), nats.MaxReconnects(-1), nats.Timeout(c.Timeout), nats.PingInterval(20 * time.Second),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // the default writes to stderr; callers see their own errors
	}
	if c.URL == "" {
		var err error
		if s.node, err = openNode(c); err != nil {
			return nil, err
		}
		c.URL = "nats://127.0.0.1:4222" // no address: the dialer's is the folder
		opts = append(opts, nats.Timeout(min(c.Timeout, answerTime)), nats.SetCustomDialer(s.node), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(30*time.Millisecond, 0))
	} else {
		opts = append(opts, nats.ReconnectWait(250*time.Millisecond))
	}
	if c.Credentials != "" {
		opts = append(opts, nats.UserCredentials(c.Credentials))
	}
	if c.CA != "" {
		opts = append(opts, nats.RootCAs(c.CA))
	}
	if err := s.connect(ctx, c.URL, opts); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) connect(ctx context.Context, url string, opts []nats.Option) (err error) {
	if err = s.dial(ctx, url, opts); err != nil {
		return err
	}
	if s.js, err = jetstream.New(s.conn); err != nil {
		return err
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, time.Second) // a cluster without leader does not answer
		_, err = s.js.AccountInfo(attempt)
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
			return unavailable("NATS is there without JetStream", "the server says: "+kernel.Quote(err.Error()), "enable JetStream for the account", err)
		}
		select {
		case <-ctx.Done():
			return unavailable("JetStream does not answer", kernel.Quote(err.Error()), "see whether the cluster has a majority of its nodes", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dial connects. The process that runs a folder's server may end in the middle of it; then
// another does, or this one.
func (s *Server) dial(ctx context.Context, url string, opts []nats.Option) (err error) {
	for {
		if s.conn, err = nats.Connect(url, opts...); err == nil {
			return nil
		}
		var known *kernel.Error
		if errors.As(err, &known) {
			return known
		}
		if s.node == nil {
			return unavailable("NATS cannot be reached", kernel.Quote(err.Error()), "start it, or correct url and credentials", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return s.node.unusable(err)
		}
	}
}

// Conn returns the connection. It mends itself for as long as it is open.
func (s *Server) Conn() *nats.Conn { return s.conn }

// JetStream returns the connection's JetStream.
func (s *Server) JetStream() jetstream.JetStream { return s.js }

// Embedded reports whether the data is in a folder of this machine.
func (s *Server) Embedded() bool { return s.node != nil }

// Problem returns the last error of the server in this process, which may be why it does not answer;
// "" where there is none.
func (s *Server) Problem() string {
	if s.node == nil {
		return ""
	}
	return s.node.problem()
}

// MaxPayload is how many bytes a message has at most.
func (s *Server) MaxPayload() int {
	return int(min(s.conn.MaxPayload(), math.MaxInt32))
}

// Close drains the connection, so that what was received is handled, and stops the
// server if that is in this process.
func (s *Server) Close() error {
	var err error
	if s.conn != nil {
		err = s.drain()
	}
	if s.node != nil {
		err = errors.Join(err, s.node.close())
	}
	return err
}

func (s *Server) drain() error {
	closed := s.conn.StatusChanged(nats.CLOSED)
	if !s.conn.IsConnected() { // there is nothing to drain
		s.conn.Close()
		return nil
	}
	if err := s.conn.Drain(); err != nil {
		s.conn.Close()
		return fmt.Errorf("draining the connection to NATS: %w", err)
	}
	select {
	case <-closed:
	case <-time.After(defaultTimeout):
		s.conn.Close()
		return fmt.Errorf("the connection to NATS was closed before it was drained")
	}
	return nil
}

func unavailable(what, why, fix string, err error) error {
	return &kernel.Error{Code: kernel.CodeUnavailable, What: what, Why: why, Fix: fix, Err: err}
}
