package testserver

import (
	"bufio"
	"errors"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// Redis is a Redis server with an append-only file that is synced at every write: what
// it acknowledged is there after Kill and Start.
type Redis struct {
	Addr string // host:port

	t       testing.TB
	program string
	dir     string
	port    int
	args    []string
	process *process
}

// NewRedis starts a Redis server with further arguments. It skips the test, or in CI
// fails it, where there is none.
func NewRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := &Redis{t: t, program: testenv.NeedProgram(t, "redis-server", "redis-server"), dir: t.TempDir(), args: args}
	t.Cleanup(func() {
		if r.process != nil {
			r.Kill()
		}
	})
	for range attempts {
		r.port = freePort(t)
		r.Addr = loopback(r.port)
		if r.start() {
			return r
		}
	}
	t.Fatalf("redis-server does not start:\n%s", r.process.out.String())
	return nil
}

func (r *Redis) start() bool {
	r.t.Helper()
	cmd := exec.Command(r.program, append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--dir", r.dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no", "--loglevel", "warning"}, r.args...)...)
	dieWithParent(cmd)
	r.process = start(r.t, cmd)
	return r.process.ready(r.t, r.ping)
}

// ping asks for any answer; one that a password is missing is one, too.
func (r *Redis) ping() error {
	conn, err := net.DialTimeout("tcp", r.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && line != "+PONG\r\n" && line[:min(7, len(line))] != "-NOAUTH" {
		return errors.New(line)
	}
	return err
}

// Kill ends the server as a power cut does.
func (r *Redis) Kill() { r.process.kill() }

// Start starts a killed server again, at the same address with what it had kept.
func (r *Redis) Start() {
	r.t.Helper()
	if !r.start() {
		r.t.Fatalf("redis-server does not start again:\n%s", r.process.out.String())
	}
}
