package natsserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	lockName   = "lock"
	socketName = "sock"
	dataName   = "data"
)

// maxSocketPath is what every system takes as a socket's path.
const maxSocketPath = 100

// node is a folder's server: in this process if it was the first to come, or else
// in another. It is the dialer of the connection, so that a lost server is looked for, or
// started, with every attempt to connect again.
type node struct {
	config Config

	mu      sync.Mutex
	closed  bool
	lock    *os.File // held while the server is here
	server  *server.Server
	log     *lastError
	socket  net.Listener
	guests  map[net.Conn]struct{} // other processes' connections
	serving sync.WaitGroup
}

func openNode(c Config) (*node, error) {
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the folder of NATS cannot be made", Why: err.Error(), Fix: "name one that can be written", Err: err}
	}
	folder, err := filepath.Abs(c.Folder)
	if err != nil {
		return nil, err
	}
	c.Folder = folder
	return &node{config: c, guests: map[net.Conn]struct{}{}}, nil
}

// Dial connects to the server of the folder, wherever it runs.
func (n *node) Dial(string, string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	deadline := time.Now().Add(n.config.Timeout)
	for {
		if n.server != nil {
			return n.server.InProcessConn()
		}
		conn, err := net.Dial("unix", n.socketPath())
		if err == nil {
			return conn, nil
		}
		lock, lerr := lockFile(filepath.Join(n.config.Folder, lockName))
		if lerr == nil {
			n.lock = lock
			if err := n.start(); err != nil {
				return nil, errors.Join(err, n.stop())
			}
			continue
		}
		if !errors.Is(lerr, errLocked) {
			return nil, n.unusable(lerr)
		}
		if time.Now().After(deadline) {
			return nil, n.unusable(fmt.Errorf("another process has it, and lets nobody in: %w", err))
		}
		time.Sleep(10 * time.Millisecond) // it is about to start, or to end
	}
}

func (n *node) unusable(err error) error {
	return unavailable("the folder of NATS cannot be used", n.config.Folder+": "+err.Error(), "end the other process, make room, or name another folder", err)
}

// socketPath is in the folder; where that is too long a path, nobody is let in.
func (n *node) socketPath() string {
	path := filepath.Join(n.config.Folder, socketName)
	if len(path) > maxSocketPath {
		return ""
	}
	return path
}

// start runs the server in this process, which has the lock.
func (n *node) start() error {
	log := &lastError{}
	s, err := server.NewServer(&server.Options{
		ServerName: "hexdag", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(n.config.Folder, dataName), JetStreamMaxStore: n.config.MaxBytes,
		SyncAlways: n.config.SyncAlways == nil || *n.config.SyncAlways,
		MaxPayload: maxPayload,
	})
	if err != nil {
		return n.unusable(err)
	}
	s.SetLoggerV2(log, false, false, false)
	n.server, n.log = s, log
	s.Start()
	if !s.ReadyForConnections(n.config.Timeout) || !s.JetStreamEnabled() {
		return n.unusable(fmt.Errorf("the server did not start: %s", kernel.Quote(log.text())))
	}
	path := n.socketPath()
	if path == "" {
		return nil
	}
	_ = os.Remove(path) // of a process that died
	if n.socket, err = net.Listen("unix", path); err != nil {
		return n.unusable(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return n.unusable(err)
	}
	n.serving.Go(func() { n.serve(n.socket, s) })
	return nil
}

// maxPayload is what an event has at most, with what is around it.
const maxPayload = 8 << 20

// serve lets other processes in.
func (n *node) serve(socket net.Listener, s *server.Server) {
	for {
		guest, err := socket.Accept()
		if err != nil {
			return
		}
		conn, err := s.InProcessConn()
		if err != nil || !n.admit(guest, conn) {
			guest.Close()
			continue
		}
	}
}

// admit joins a guest to a connection of the server.
func (n *node) admit(guest, conn net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		conn.Close()
		return false
	}
	n.guests[guest] = struct{}{}
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // it ends when either does
		to.Close()
		from.Close()
		n.mu.Lock()
		delete(n.guests, guest)
		n.mu.Unlock()
	}
	n.serving.Go(func() { pipe(conn, guest) })
	n.serving.Go(func() { pipe(guest, conn) })
	return true
}

// problem returns the last error that the server wrote, if it is here.
func (n *node) problem() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.log == nil {
		return ""
	}
	return n.log.text()
}

func (n *node) close() error {
	n.mu.Lock()
	n.closed = true
	err := n.stop()
	n.mu.Unlock()
	n.serving.Wait()
	return err
}

// stop ends what start began, as far as that went, and gives the folder back.
func (n *node) stop() error {
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.server = nil
	}
	if n.socket != nil {
		n.socket.Close() // removes it
		n.socket = nil
	}
	for guest := range n.guests {
		guest.Close()
	}
	if n.lock == nil {
		return nil
	}
	err := n.lock.Close()
	n.lock = nil
	return err
}

// lastError is a log that keeps the last of the errors, for the message of a server that
// does not start.
type lastError struct{ last atomic.Value }

func (l *lastError) text() string {
	text, _ := l.last.Load().(string)
	return text
}

func (l *lastError) keep(format string, v ...any) { l.last.Store(fmt.Sprintf(format, v...)) }

func (l *lastError) Noticef(string, ...any)         {}
func (l *lastError) Warnf(string, ...any)           {}
func (l *lastError) Debugf(string, ...any)          {}
func (l *lastError) Tracef(string, ...any)          {}
func (l *lastError) Errorf(format string, v ...any) { l.keep(format, v...) }
func (l *lastError) Fatalf(format string, v ...any) { l.keep(format, v...) }
