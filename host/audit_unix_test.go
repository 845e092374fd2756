//go:build unix

package host_test

import (
	"flag"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/engine"
	"github.com/hexdag/hexdag/host/kernel"
)

// fill makes the audit log's next write fail: no file of this process may grow
// beyond what the log has now.
func fill(t *testing.T, log string) {
	t.Helper()
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
	full := old
	full.Cur = uint64(info.Size())
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
}

// inChild runs the test in a process of its own where go test keeps a log of what
// this one does: that log's writes would fail, too.
func inChild(t *testing.T) bool {
	t.Helper()
	if f := flag.Lookup("test.testlogfile"); f == nil || f.Value.String() == "" {
		return false
	}
	out, err := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

// What cannot be recorded does not happen.
func TestNothingHappensUnrecorded(t *testing.T) {
	if inChild(t) {
		return
	}
	for _, test := range []struct {
		name  string
		when  kernel.EventType // the log fails at this event; "" means before the run
		nodes []string
	}{
		{"the run", "", []string{store}},
		{"a call of the pipeline", kernel.NodeStarted, []string{store}},
		{"a call of a module", kernel.NodeStarted, []string{pull("good")}},
		{"a question to governance", kernel.NodeStarted, []string{`{kind: service_call_node, metadata: {name: ask}, spec: {service: governance, method: authorize, input_mapping: {action: "'pay'"}}}`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, puppets)
			h := s.open(t)
			p := s.load(t, h, test.nodes...)
			log := filepath.Join(h.AuditDir(), "records.jsonl")
			if test.when == "" {
				fill(t, log)
			}
			started := 0
			res := p.Run(t.Context(), nil, host.RunOptions{Recorder: host.Tell(func(e *host.Event) {
				if e.Type == kernel.NodeStarted {
					started++
				}
				if e.Type == test.when {
					fill(t, log)
				}
			})})
			if res.Status == engine.Completed || res.Err == nil {
				t.Fatalf("the run went on: %+v", res)
			}
			if test.when == "" {
				wantError(t, res.Err, kernel.CodeAudit, "records.jsonl", "file too large")
				if started > 0 {
					t.Error("a node started")
				}
			}
			if stored, _ := filepath.Glob(s.path(".hexdag/artifacts/content/*")); len(stored) > 0 {
				t.Errorf("stored all the same: %v", stored)
			}
			if len(res.Counters) > 0 || len(res.NodeResults) > 0 {
				t.Errorf("done all the same: %v, %v", res.Counters, res.NodeResults)
			}
			// The next one is refused, too, and closing tells of it.
			again := p.Run(t.Context(), nil, host.RunOptions{})
			wantError(t, again.Err, kernel.CodeAudit)
			wantError(t, h.Close(t.Context()), kernel.CodeAudit, "file too large")
		})
	}
}
