package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// Redis starts a Redis that keeps nothing over a restart, unless options of its command line
// say so. Its folder is the test's.
func Redis(t testing.TB, options ...string) *Process {
	t.Helper()
	testenv.NeedServer(t, "Redis")
	path := testenv.NeedProgram(t, "redis-server", "redis-server")
	port := FreePort(t)
	args := append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--appendonly", "no"}, options...)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	return start(t, address, func() error { return redisAnswers(address) }, func() *exec.Cmd { return exec.Command(path, args...) })
}

// redisAnswers returns an error while the Redis does not listen, or reads what it had written:
// it listens then, and refuses every command.
func redisAnswers(address string) error {
	conn, err := net.DialTimeout("tcp", address, time.Second)
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
	if err != nil {
		return err
	}
	if strings.HasPrefix(line, "-LOADING") {
		return errors.New(strings.TrimSpace(line))
	}
	return nil
}
