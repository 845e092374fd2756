package host_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/testenv"
)

// mortalEnv has a process of these tests be a host that is killed: its value is the site's folder, and what it does.
const mortalEnv = "HEXDAG_TEST_MORTAL"

const mortalRuns = 8 // at once, in one process

const mortalConfig = `  modules:
    guard: {path: PUPPET, config: {op: metrics.count, args: {name: good}}, grants: [{metrics.count: {name: [good, bad]}}, {database.query: {table: orders}}]}
  hooks: [{module: guard, nodes: [ask0, ask1, add0]}]
  ports:
    database: {adapter: memory}
    memory: {adapter: sqlite}
    eventbus: {adapter: nats}
`

// mortalNodes are thirty nodes: five chains with a model, the bus, the memory, artifacts, a lock, and a ledger.
func mortalNodes() []string {
	var nodes []string
	for i := range 5 {
		add := `spec: {service: memory, method: set, input_mapping: {key: "$input.id + '.%[1]d'", value: "'x'"}}`
		if i < 2 {
			add = `spec: {service: ledger, method: add, lock: "ledger-%[1]d", input_mapping: {item: "$input.id + '.%[1]d'"}}`
		}
		for _, node := range []string{
			`{kind: expression_node, metadata: {name: first%[1]d}, dependencies: [], spec: {expressions: {id: "$input.id", at: "now()"}}}`,
			`{kind: llm_node, metadata: {name: ask%[1]d}, dependencies: [first%[1]d], spec: {human_message: "{{ first%[1]d.id }} ask%[1]d"}}`,
			`{kind: service_call_node, metadata: {name: add%[1]d}, dependencies: [ask%[1]d], ` + add + `}`,
			`{kind: service_call_node, metadata: {name: tell%[1]d}, dependencies: [add%[1]d], spec: {service: eventbus, method: publish, input_mapping: {topic: "'orders.new'", data: "$input.id + '.%[1]d'"}}}`,
			`{kind: service_call_node, metadata: {name: store%[1]d}, dependencies: [ask%[1]d], spec: {service: artifacts, method: store, input_mapping: {name: "'a%[1]d'", value: "ask%[1]d"}}}`,
			`{kind: data_node, metadata: {name: last%[1]d}, dependencies: [tell%[1]d, store%[1]d], spec: {output: {said: "{{ ask%[1]d }}"}}}`,
		} {
			nodes = append(nodes, fmt.Sprintf(node, i))
		}
	}
	return nodes
}

// mortal is what a process does that is killed: with a batch it begins runs, and without it goes on with those whose host has died.
func mortal(task string) {
	dir, batch, _ := strings.Cut(task, "|")
	if name, is := strings.CutPrefix(batch, "goals "); is {
		if err := mortalGoals(site{dir}, name); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	if err := mortalHost(site{dir}, batch); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

func mortalHost(s site, batch string) (err error) {
	ctx := context.Background()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		return err
	}
	noting := func(file string, answer func(*kernel.PortCall) (note string, v kernel.Value)) func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		return func(_ context.Context, call *kernel.PortCall) (*kernel.PortReply, error) {
			note, v := answer(call)
			f, err := os.OpenFile(s.path(file), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			_, err = f.WriteString(note + "\n")
			fmt.Println("did", file)
			return &kernel.PortReply{Value: v}, err
		}
	}
	event, wakes := strings.CutPrefix(batch, "wake ")
	if wakes { // on another machine than the others
		cfg.State = s.path("state-wakes")
	}
	h, err := host.New(ctx, cfg, host.Options{KeyFile: s.path("audit.key"), CacheDir: s.path("cache"), Durable: batch == "listen", Ports: []host.PortOp{
		{Name: "ledger.add", Func: noting("ledger.log", func(call *kernel.PortCall) (string, kernel.Value) { return fmt.Sprint(call.Args["item"]), true })},
		{Name: "llm.complete", Func: noting("asked.log", func(call *kernel.PortCall) (string, kernel.Value) {
			text, _ := kernel.Field(call.Args["messages"].([]any)[0], "content")
			return fmt.Sprint(text), map[string]any{"content": "answer to " + fmt.Sprint(text)}
		})},
	}, Functions: map[string]host.Function{"test.slow": func(ctx context.Context, _ *kernel.NodeCall) (kernel.Value, error) { // for as long as this process lives
		<-ctx.Done()
		return nil, kernel.ContextError(ctx)
	}}})
	if err != nil {
		return err
	}
	go func() { // it does not outlive the test
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	if wakes {
		fmt.Println("ready")
		_, err := h.Signal(ctx, event, map[string]any{"by": "Ann"}, host.RunOptions{})
		fmt.Println("done", err)
		return h.Close(ctx)
	}
	switch batch {
	case "listen":
		return errors.Join(mortalListener(ctx, h), h.Close(ctx))
	case "":
		fmt.Println("ready")
		err = h.Recover(ctx, host.RunOptions{}, func(r *host.Recovered) {
			if r.Err != nil && kernel.CodeOf(r.Err) != kernel.CodeCanceled { // one that had not begun
				fmt.Println("error", r.RunID, r.Err)
			}
		})
		fmt.Println("recovered", err)
		return h.Close(ctx)
	}
	p, err := h.Load(ctx, s.path("pipeline.yaml"), host.LoadOptions{})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var wg sync.WaitGroup
	for i := range mortalRuns {
		wg.Go(func() {
			p.Run(ctx, map[string]any{"id": fmt.Sprintf("%s-%d", batch, i)}, host.RunOptions{Durable: true})
		})
	}
	wg.Wait()
	fmt.Println("done")
	return h.Close(ctx)
}

// live starts a process that does a task, and returns it when it is about to.
func (s site) live(t *testing.T, task string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), mortalEnv+"="+s.dir+"|"+task)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the process says %q", lines.Text())
	}
	return cmd, lines
}

// die kills a process some time after it has said some lines, and waits until it is gone. It may have come to its end before.
func die(t *testing.T, cmd *exec.Cmd, said *bufio.Scanner, lines int, after time.Duration) {
	t.Helper()
	for range lines {
		if !said.Scan() {
			break
		}
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it says that it was killed
}

// ended lets a process come to its end.
func ended(t *testing.T, cmd *exec.Cmd, lines *bufio.Scanner) {
	t.Helper()
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error") {
			t.Error(lines.Text())
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// TestKilled kills the process of runs under way at random moments, with SIGKILL, and has others go on, which are killed, too. In the end
// nothing is lost, and nothing was done twice.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: hosts that are killed for a minute")
	}
	s := newSite(t, mortalConfig)
	s.write(t, "pipeline.yaml", "kind: Pipeline\nmetadata: {name: test}\nspec:\n  nodes:\n    - "+strings.Join(mortalNodes(), "\n    - ")+"\n")
	random := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	kills := 200 / mortalRuns
	if testenv.Race {
		kills = 5
	}
	const calls = mortalRuns * 7 // of a batch, to the ports that say a line
	for i := range kills {
		cmd, said := s.live(t, fmt.Sprintf("b%d", i))
		die(t, cmd, said, random.IntN(calls), time.Duration(random.Int64N(int64(20*time.Millisecond))))
		for random.IntN(2) == 0 { // whoever goes on dies, too
			cmd, said := s.live(t, "")
			die(t, cmd, said, random.IntN(calls/2), time.Duration(random.Int64N(int64(20*time.Millisecond))))
		}
	}
	cmd, lines := s.live(t, "")
	ended(t, cmd, lines)
	s.account(t)
}

// account compares what runs did with what their journals say.
func (s site) account(t *testing.T) {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	j, err := host.OpenJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	heads, err := j.Runs(t.Context(), "default", driver.Query{})
	if err != nil {
		t.Fatal(err)
	}
	added, asked := counted(t, s.path("ledger.log")), counted(t, s.path("asked.log"))
	told, ended := s.told(t)
	statuses := map[driver.Status]int{}
	recovered := 0
	for _, head := range heads {
		read, err := journal.Read(t.Context(), j, "default", head.ID)
		if err != nil {
			t.Fatal(err)
		}
		entries, err := read.All(t.Context())
		if err != nil || read.Torn != nil {
			t.Fatal(err, read.Torn)
		}
		statuses[head.Status]++
		if len(entries) == 0 {
			continue
		}
		input, _ := kernel.Field(entries[0].Head.Input, "id")
		id := fmt.Sprint(input)
		deaths, unknown := map[string]int{}, false // of the run's hosts, before the model's answer was on the disk
		died := 0
		for _, e := range entries {
			switch {
			case e.Kind == journal.Recover:
				recovered++
				died++
			case e.Kind == journal.Reply && e.Op == "llm.complete":
				deaths[e.Lane] = died
			}
			unknown = unknown || e.Kind == journal.End && e.Failed != nil && e.Failed.Code == kernel.CodeInFlight
		}
		if head.Status != driver.Status(engine.Completed) && !unknown {
			t.Errorf("run %s, %s, is %s: %s", id, head.ID, head.Status, entries[len(entries)-1].Brief())
		}
		if n := ended[head.ID]; n != 1 && head.Status == driver.Status(engine.Completed) {
			t.Errorf("run %s: it was told %d times that it is over", id, n)
		}
		for i := range 5 {
			name := fmt.Sprintf("%s.%d", id, i)
			if n := added[name]; i < 2 && (n > 1 || n == 0 && !unknown) {
				t.Errorf("%s was added %d times (%s)", name, n, head.Status)
			}
			if n := told[name]; n > 1 || n == 0 && !unknown {
				t.Errorf("%s was published %d times (%s)", name, n, head.Status)
			}
			if n := asked[fmt.Sprintf("%s ask%d", id, i)]; n > 1+deaths[fmt.Sprintf("ask%d", i)] || n == 0 && !unknown {
				t.Errorf("%s: the model was asked %d times; its host had died %d times before there was an answer", name, n, deaths[fmt.Sprintf("ask%d", i)])
			}
		}
	}
	t.Logf("%d runs, ended as %v, gone on with %d times", len(heads), statuses, recovered)
	if recovered == 0 {
		t.Error("no run lost its host")
	}
}

// counted counts a file's lines.
func counted(t *testing.T, file string) map[string]int {
	t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(readFile(t, file)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

// told counts what was published, by what was, and how runs ended, by the run.
func (s site) told(t *testing.T) (published, ended map[string]int) {
	t.Helper()
	cfg, err := host.LoadConfig(s.path("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(t.Context(), cfg, host.Options{KeyFile: s.path("audit.key")})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close(t.Context())
	published, ended = map[string]int{}, map[string]int{}
	events, err := h.Bus().Read(t.Context(), h.Tenant(), []string{"orders.new", eventbus.HostTopics + "pipeline.test.completed"}, eventbus.Start{Beginning: true}, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Topic != "orders.new" {
			ended[e.RunID]++
			continue
		}
		var text string
		if err := json.Unmarshal(e.Data, &text); err != nil {
			t.Fatal(err)
		}
		published[text]++
	}
	return published, ended
}
