package natsserver

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

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

	dialing sync.Mutex // around starting and stopping the server, which take their time

	mu      sync.Mutex // around the fields
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

// Dial connects to the server of the folder, wherever it runs. It waits for no other process: who
// dials tries again.
func (n *node) Dial(string, string) (net.Conn, error) {
	n.dialing.Lock()
	defer n.dialing.Unlock()
	if s, err := n.running(); s != nil || err != nil {
		return inProcess(s, err)
	}
	conn, err := net.DialTimeout("unix", n.socketPath(), answerTime)
	if err == nil {
		return conn, nil
	}
	lock, lerr := lockFile(filepath.Join(n.config.Folder, lockName))
	switch {
	case errors.Is(lerr, errLocked): // it is about to start, or to end, or its socket cannot be
		return nil, fmt.Errorf("another process has it, and lets nobody in: %w", err)
	case lerr != nil:
		return nil, n.unusable(lerr)
	}
	if err := n.start(lock); err != nil {
		return nil, errors.Join(err, n.stop())
	}
	return inProcess(n.running())
}

// running returns the server if it is here, or nil.
func (n *node) running() (*server.Server, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, net.ErrClosed
	}
	return n.server, nil
}

func inProcess(s *server.Server, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	return s.InProcessConn()
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
func (n *node) start(lock *os.File) error {
	log := &lastError{}
	n.mu.Lock()
	n.lock, n.log = lock, log
	n.mu.Unlock()
	most := n.config.MaxBytes
	if most == 0 { // a stream reserves what it may take, and few take it: the disk is limit enough
		most = math.MaxInt64 / 2
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "hexdag", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(n.config.Folder, dataName), JetStreamMaxStore: most,
		SyncAlways: n.config.SyncAlways == nil || *n.config.SyncAlways,
		MaxPayload: maxPayload,
	})
	if err != nil {
		return n.unusable(err)
	}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	n.mu.Lock()
	n.server = s
	n.mu.Unlock()
	if !s.ReadyForConnections(n.config.Timeout) || !s.JetStreamEnabled() {
		return n.unusable(fmt.Errorf("the server did not start: %s", kernel.Quote(log.text())))
	}
	path := n.socketPath()
	if path == "" {
		return nil
	}
	_ = os.Remove(path) // of a process that died
	socket, err := net.Listen("unix", path)
	if err != nil {
		return n.unusable(err)
	}
	n.mu.Lock()
	n.socket = socket
	n.mu.Unlock()
	if err := os.Chmod(path, 0o600); err != nil {
		return n.unusable(err)
	}
	n.serving.Go(func() { n.serve(socket, s) })
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
	n.mu.Unlock()
	n.dialing.Lock()
	err := n.stop()
	n.dialing.Unlock()
	n.serving.Wait()
	return err
}

// stop ends what start began, as far as that went, and gives the folder back.
func (n *node) stop() error {
	n.mu.Lock()
	s, socket, lock, guests := n.server, n.socket, n.lock, slices.Collect(maps.Keys(n.guests))
	n.server, n.socket, n.lock = nil, nil, nil
	n.mu.Unlock()
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if socket != nil {
		socket.Close() // removes it
	}
	for _, guest := range guests {
		guest.Close()
	}
	if lock == nil {
		return nil
	}
	return lock.Close()
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
