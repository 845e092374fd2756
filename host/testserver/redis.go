package testserver

import (
	"fmt"
	"os/exec"
	"strconv"
	"testing"

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
	return start(t, fmt.Sprintf("127.0.0.1:%d", port), nil, func() *exec.Cmd { return exec.Command(path, args...) })
}
