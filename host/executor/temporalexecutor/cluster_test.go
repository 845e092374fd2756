package temporalexecutor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"log/slog"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/executor/temporalexecutor"
	"github.com/hexdag/hexdag/host/testserver"
)

// patience is how long a test waits for what has to come: much longer than it takes on a machine that has time.
const patience = 2 * time.Minute

// cluster is a Temporal, workers that are processes, and a host that starts runs.
type cluster struct {
	t       *testing.T
	dir     string
	server  *testserver.Process
	config  string
	workers []*exec.Cmd
	host    *host.Host
}

// newCluster starts a cluster with so many workers. spec is of the configuration, below spec:, beside the executor.
func newCluster(t *testing.T, workers int, spec string) *cluster {
	t.Helper()
	return newClusterOn(t, testserver.Temporal(t), workers, spec, "")
}

func newClusterOn(t *testing.T, server *testserver.Process, workers int, spec, executor string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), server: server}
	for _, name := range []string{"gates", "effects"} {
		if err := os.Mkdir(filepath.Join(c.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	c.config = c.write("hexdag.yaml", "kind: Config\nspec:\n  executor: {adapter: temporal, config: {"+settings(server.Address(), executor)+"}}\n"+spec)
	for range workers {
		c.start()
	}
	cfg, err := host.LoadConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	if c.host, err = host.New(t.Context(), cfg, host.Options{Functions: functions(c.dir)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.replay()
		if err := c.host.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for i := range c.workers {
			c.kill(i)
		}
	})
	return c
}

// settings are an executor's, over the defaults of tests.
func settings(address, more string) string {
	s := map[string]string{"address": strconv.Quote(address), "task_queue": "test", "heartbeat": "2", "drain": "1"}
	for _, one := range strings.Split(more, ", ") {
		if name, value, ok := strings.Cut(one, ": "); ok {
			s[name] = value
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s)) {
		all = append(all, name+": "+s[name])
	}
	return strings.Join(all, ", ")
}

func (c *cluster) write(name, text string) string {
	c.t.Helper()
	file := filepath.Join(c.dir, name)
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		c.t.Fatal(err)
	}
	return file
}

// start starts a worker.
func (c *cluster) start() *exec.Cmd {
	c.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), workerConfig+"="+c.config, workerFolder+"="+c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("worker %d said: %s", cmd.Process.Pid, out.String())
		}
	})
	c.workers = append(c.workers, cmd)
	return cmd
}

// kill is kill -9 of a worker.
func (c *cluster) kill(i int) {
	if cmd := c.workers[i]; cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
		c.workers[i] = nil
	}
}

// killPid kills the worker of a process id.
func (c *cluster) killPid(pid int) {
	c.t.Helper()
	for i, cmd := range c.workers {
		if cmd != nil && cmd.Process.Pid == pid {
			c.kill(i)
			return
		}
	}
	c.t.Fatalf("no worker is process %d", pid)
}

// open opens a gate.
func (c *cluster) open(gate string) { c.write("gates/"+gate, "") }

// load loads a pipeline of these nodes, each on a line of YAML.
func (c *cluster) load(name, spec string) *host.Pipeline {
	c.t.Helper()
	p, err := c.host.Load(c.t.Context(), c.write(name+".yaml", "kind: Pipeline\nmetadata: {name: "+name+"}\nspec:\n  "+strings.ReplaceAll(strings.TrimSpace(spec), "\n", "\n  ")+"\n"), host.LoadOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// lines are those of a file of notes.
func (c *cluster) lines(name string) []string {
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil && !os.IsNotExist(err) {
		c.t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(text), " ", "#"))
}

// begun waits until a node has begun so many times, and returns the process that began it last.
func (c *cluster) begun(node string, times int) (pid int) {
	c.t.Helper()
	c.until(func() string {
		n := 0
		for _, line := range c.lines("begun") {
			key, id, _ := strings.Cut(line, "#")
			if strings.HasSuffix(key, "."+node) {
				n++
				pid, _ = strconv.Atoi(id)
			}
		}
		if n >= times {
			return ""
		}
		return fmt.Sprintf("node %s has begun %d times", node, n)
	})
	return pid
}

// until waits until not says nothing any more.
func (c *cluster) until(not func() string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		why := not()
		if why == "" {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatal(why)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// effects checks that each of the nodes of each of the runs had its effect, and nothing else had one.
func (c *cluster) effects(runs []*host.Result, nodes ...string) {
	c.t.Helper()
	entries, err := os.ReadDir(filepath.Join(c.dir, "effects"))
	if err != nil {
		c.t.Fatal(err)
	}
	had := map[string]bool{}
	for _, e := range entries {
		had[e.Name()] = true
	}
	for _, r := range runs {
		for _, n := range nodes {
			if key := r.RunID + "." + n; !had[key] {
				c.t.Errorf("%s had no effect", key)
			}
		}
	}
	if len(had) != len(runs)*len(nodes) {
		c.t.Errorf("%d effects, want %d", len(had), len(runs)*len(nodes))
	}
}

// client returns a client of the cluster's Temporal.
func (c *cluster) client() client.Client {
	c.t.Helper()
	cl, err := client.NewLazyClient(client.Options{HostPort: c.server.Address(), Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// replay replays the histories of all runs: what a worker would do of them now is what was done.
func (c *cluster) replay() {
	if c.t.Failed() || c.server == nil {
		return
	}
	cl := c.client()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	list, err := cl.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000})
	if err != nil {
		c.t.Error(err)
		return
	}
	for i, e := range list.Executions {
		h := &history.History{}
		events := cl.GetWorkflowHistory(ctx, e.Execution.WorkflowId, e.Execution.RunId, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for events.HasNext() {
			event, err := events.Next()
			if err != nil {
				c.t.Error(err)
				return
			}
			h.Events = append(h.Events, event)
		}
		if err := temporalexecutor.NewReplayer().ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h); err != nil {
			c.t.Errorf("the history of run %s is not what the code does: %v", e.Execution.WorkflowId, err)
		}
		if i == 0 {
			c.record(h)
		}
	}
}

// machines are what of a history is of the machine that it was made on.
var machines = regexp.MustCompile(`("identity":\s*")[^"]*|("(?:file|File)":\s*")[^"]*`)

// record writes a history into testdata, where HEXDAG_RECORD is set.
func (c *cluster) record(h *history.History) {
	if os.Getenv("HEXDAG_RECORD") == "" {
		return
	}
	text, err := temporalproto.CustomJSONMarshalOptions{Indent: " "}.Marshal(h)
	if err != nil {
		c.t.Error(err)
		return
	}
	text = machines.ReplaceAll(text, []byte("${1}${2}worker"))
	if !json.Valid(text) {
		c.t.Error("the history is no JSON")
	}
	file := filepath.Join("testdata", "histories", strings.ReplaceAll(strings.TrimPrefix(c.t.Name(), "Test"), "/", "-")+".json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		c.t.Error(err)
	}
}

// TestHistories replays the histories that were recorded once: what was begun then is brought to its end by the code
// of now.
func TestHistories(t *testing.T) {
	files, err := filepath.Glob("testdata/histories/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("there are no histories", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			if err := temporalexecutor.NewReplayer().ReplayWorkflowHistoryFromJSONFile(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), file); err != nil {
				t.Error(err)
			}
		})
	}
}
