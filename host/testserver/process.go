// Package testserver runs servers for tests, on loopback and for as long as a test lasts, and the
// faults that they have: killed, paused, and cut off by a proxy.
package testserver

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/flock"
)

// Process is a server that runs as a process of its own. Its methods are for the goroutine of the test.
type Process struct {
	t       testing.TB
	command func() *exec.Cmd
	address string       // where it listens
	ready   func() error // what succeeds once it answers; nil: that it listens

	mu     sync.Mutex
	cmd    *exec.Cmd // nil when it does not run
	output *bytes.Buffer
}

// start runs what command returns until the test ends.
func start(t testing.TB, address string, ready func() error, command func() *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, command: command, address: address, ready: ready}
	t.Cleanup(p.Kill)
	p.Restart()
	return p
}

// Address returns host:port.
func (p *Process) Address() string { return p.address }

// patience is how long a server may take to start, beside all that a machine does meanwhile.
const patience = 2 * time.Minute

// Restart starts the process, which must not run, with the data that it had.
func (p *Process) Restart() {
	p.t.Helper()
	if err := p.launch(); err != nil {
		p.t.Fatal(err)
	}
	deadline := time.Now().Add(patience)
	for {
		err := p.answers()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			program := p.cmd.Path
			p.Kill() // it writes the output until then
			p.t.Fatalf("%s does not answer at %s within %s: %v\n%s", program, p.address, patience, err, p.output)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *Process) answers() error {
	if p.ready != nil {
		return p.ready()
	}
	conn, err := net.DialTimeout("tcp", p.address, time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (p *Process) launch() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.cmd.Path)
	}
	p.cmd, p.output = p.command(), &bytes.Buffer{}
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	p.cmd.SysProcAttr = dieWithParent(p.cmd.SysProcAttr)
	return p.cmd.Start()
}

// Kill ends the process as kill -9 does.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	all := p.all()
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = p.cmd.Wait() // it says that it was killed
	for _, pid := range all {
		for syscall.Kill(pid, 0) == nil && !gone(pid) {
			time.Sleep(time.Millisecond)
		}
	}
	p.cmd = nil
}

// all returns the process and those that it started.
func (p *Process) all() []int {
	return append([]int{p.cmd.Process.Pid}, children(p.cmd.Process.Pid)...)
}

// Pause stops the process as it stands.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP) }

// Resume has a paused process go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s syscall.Signal) {
	p.t.Helper()
	for _, pid := range p.all() {
		_ = syscall.Kill(pid, s) // one may have ended by itself
	}
}

// The ports of servers are below those that systems give to clients, which take one at any moment.
const (
	firstPort = 10_000
	ports     = 20_000
)

// FreePort returns a port of loopback that nobody listens at, and that no other test is given until this one ends.
func FreePort(t testing.TB) int {
	t.Helper()
	dir := filepath.Join(os.TempDir(), "hexdag-test-ports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		port := firstPort + rand.IntN(ports)
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if !claimed(t.Context(), f) || !nobodyAt(port) {
			_ = f.Close()
			continue
		}
		t.Cleanup(func() { _ = f.Close() }) // which gives it back
		return port
	}
	t.Fatal("there is no free port")
	return 0
}

// claimed reports whether this process has a file for itself.
func claimed(ctx context.Context, f *os.File) bool {
	now, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	return flock.Lock(now, f, true) == nil
}

func nobodyAt(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}
