package mcpport

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/hexdag/hexdag/host/kernel"
)

// link is the way to the server.
func (s *server) link() mcp.Transport {
	if s.config.URL != "" {
		return &mcp.StreamableClientTransport{Endpoint: s.config.URL, HTTPClient: s.client, MaxRetries: -1, DisableStandaloneSSE: true, MaxEventSize: int(s.most + 2*slack)} // the transport cuts before that
	}
	return &commandLink{s}
}

// commandLink starts the server's command, and talks on its standard input and output.
type commandLink struct{ s *server }

// Connect implements mcp.Transport.
func (l *commandLink) Connect(ctx context.Context) (mcp.Connection, error) {
	s := l.s
	cmd := exec.Command(s.config.Command[0], s.config.Command[1:]...) //nolint:gosec // the operator's configuration names it
	cmd.Env = []string{}                                              // nil would be the host's
	for _, name := range s.config.PassEnv {
		if value, set := os.LookupEnv(name); set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	for name, value := range s.config.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Dir = s.dir
	if s.config.Dir != "" {
		cmd.Dir = s.config.Dir
		if !filepath.IsAbs(cmd.Dir) {
			cmd.Dir = filepath.Join(s.dir, cmd.Dir)
		}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = &stderr{s: s}
	cmd.WaitDelay = stopTimeout
	grouped(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, in: in, ReadCloser: out}
	conn, err := (&mcp.IOTransport{Reader: p, Writer: in, MaxLineLength: int(s.most + slack)}).Connect(ctx)
	if err != nil {
		_ = p.Close()
	}
	return conn, err
}

// process is a started command. Closing it ends the command: by the end of its input, or else by force.
type process struct {
	cmd *exec.Cmd
	in  io.Closer
	io.ReadCloser
	once sync.Once
}

// Close ends the command and waits for that. What a command that heeds the end of its input has left running is its own affair.
func (p *process) Close() error {
	p.once.Do(func() {
		_ = p.in.Close() // it may be closed already
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = p.cmd.Wait() // how it ends is its own affair
		}()
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
			killGroup(p.cmd)
			<-done
		}
	})
	return nil
}

// maxStderr is how much of what a server writes to its standard error is kept in the log.
const maxStderr = 64 << 10

type stderr struct {
	s    *server
	seen int
}

func (w *stderr) Write(p []byte) (int, error) {
	if w.seen < maxStderr {
		w.s.log.Info(kernel.Quote(string(p)), "server", w.s.name)
	}
	w.seen += len(p)
	return len(p), nil
}
