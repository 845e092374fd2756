package testserver

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"

	"github.com/hexdag/hexdag/host/testenv"
)

// Temporal starts Temporal's development server, which keeps what it keeps in a file, and has the namespace default.
func Temporal(t testing.TB) *Process {
	t.Helper()
	return temporal(t, "--db-filename", filepath.Join(t.TempDir(), "temporal.db"))
}

// TemporalInMemory is Temporal with nothing on the disk: what it takes is the work alone.
func TemporalInMemory(t testing.TB) *Process {
	t.Helper()
	return temporal(t)
}

func temporal(t testing.TB, more ...string) *Process {
	t.Helper()
	testenv.NeedServer(t, "Temporal")
	program := builtProgram(t, "temporal")
	port, http, metrics := FreePort(t), FreePort(t), FreePort(t)
	address := loopback(port)
	ready := func() error {
		c, err := client.NewLazyClient(client.Options{HostPort: address, Logger: quiet{}})
		if err != nil {
			return err
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if _, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: client.DefaultNamespace}); err != nil {
			return err
		}
		_, err = c.WorkflowService().ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: client.DefaultNamespace, PageSize: 1})
		return err
	}
	return start(t, address, ready, func() *exec.Cmd {
		return exec.Command(program, append([]string{"server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", strconv.Itoa(port), "--http-port", strconv.Itoa(http), "--metrics-port", strconv.Itoa(metrics),
			"--log-level", "error", "--dynamic-config-value", "frontend.namespaceRPS=100000"}, more...)...)
	})
}

// quiet logs nothing: that nobody answers yet is what is waited for.
type quiet struct{}

var _ log.Logger = quiet{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}
