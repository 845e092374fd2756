//go:build linux || darwin

package auditlog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/governance/auditlog"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("AUDITLOG_CHILD"); role != "" {
		child(role)
		return
	}
	goleak.VerifyTestMain(m)
}

// start runs this test binary as a child that appends to the log.
func (s site) start(t *testing.T, role string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "AUDITLOG_CHILD="+role, "AUDITLOG_DIR="+s.dir, "AUDITLOG_KEY="+s.key)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, out
}

// child is the process that a test kills or starves.
func child(role string) {
	l, err := auditlog.Open(os.Getenv("AUDITLOG_DIR"), auditlog.Options{KeyFile: os.Getenv("AUDITLOG_KEY"), SyncEvery: 3 * time.Millisecond})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	if role == "full" {
		fillDisk(l)
		return
	}
	for i := 0; ; i++ {
		if err := l.Audit(context.Background(), record(i)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("ok")
	}
}

// fillDisk appends until the system refuses, by a limit on the size of a file,
// and reports how the log took it.
func fillDisk(l *auditlog.Log) {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 50_000, Max: 50_000}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		fmt.Println(err)
		return
	}
	accepted := 0
	err := error(nil)
	for ; err == nil; accepted++ {
		err = l.Audit(context.Background(), record(accepted))
	}
	accepted--
	small := l.Audit(context.Background(), &kernel.AuditRecord{Kind: "k", Action: "a"})
	fmt.Println(accepted, kernel.CodeOf(err), errors.Is(err, syscall.EFBIG), kernel.CodeOf(small), kernel.CodeOf(l.Close()))
}

func TestKill(t *testing.T) {
	s := newSite(t)
	acknowledged := int64(0)
	for round := range 4 {
		cmd, out := s.start(t, "append")
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if lines.Text() != "ok" {
				t.Fatal(lines.Text())
			}
			acknowledged++
			if n == 100+70*round {
				cmd.Process.Kill()
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child ended by itself")
		}
		// What a checkpoint covers is whole, whatever hit the process.
		s.verify(t, auditlog.VerifyOptions{Live: true})
	}
	s.write(t, 1, 1)
	got := s.verify(t, auditlog.VerifyOptions{})
	if got.Kinds["decision"] < acknowledged+1 {
		t.Errorf("%d records, %d were acknowledged", got.Kinds["decision"], acknowledged+1)
	}
	t.Logf("%d records, %d recoveries", got.Records, got.Kinds["log"])
}

func TestDiskFull(t *testing.T) {
	s := newSite(t)
	cmd, out := s.start(t, "full")
	text, err := io.ReadAll(out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	var accepted int64
	var full, after, closing string
	var cause bool
	if _, err := fmt.Sscan(string(text), &accepted, &full, &cause, &after, &closing); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	want := string(kernel.CodeAudit)
	if accepted < 100 || full != want || !cause || after != want || closing != want {
		t.Fatalf("the child reports %s", text)
	}
	if data := s.get(t, "records.jsonl"); !strings.HasSuffix(string(data), "}\n") {
		t.Error("half a record was left behind")
	}
	s.open(t).Close()
	if got := s.verify(t, auditlog.VerifyOptions{}); got.Kinds["decision"] != accepted {
		t.Errorf("%d records, %d were accepted", got.Kinds["decision"], accepted)
	}
}
