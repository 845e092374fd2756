// Package testserver starts real servers on loopback for tests, one file a server. A
// server lives as long as the test that started it, and dies with the test's process.
package testserver

import (
	"bytes"
	"net"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// patience is how long a server may take to answer.
const patience = 2 * time.Minute

// attempts is how often a server is started on another port: between the moment a port
// is found free and the moment it is used, another test may take it.
const attempts = 5

// freePort returns a port of loopback that nobody listens on.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// process is a server that runs.
type process struct {
	cmd   *exec.Cmd
	out   output
	ended chan struct{}
}

// output is what a server printed.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start starts a server.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	cmd.WaitDelay = time.Second // a child that it left may hold its output
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", cmd.Path, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended is in what it printed
		close(p.ended)
	}()
	return p
}

// ready waits until answers says that the server does, and reports whether it lives.
func (p *process) ready(t testing.TB, answers func() error) bool {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := answers()
		if err == nil {
			return true
		}
		select {
		case <-p.ended:
			return false
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			p.kill()
			t.Fatalf("%s does not answer: %v\n%s", p.cmd.Path, err, p.out.String())
		}
	}
}

// kill ends the server as a power cut does, and waits until it is gone.
func (p *process) kill() {
	killAll(p.cmd) // fails where it has ended
	<-p.ended
}
