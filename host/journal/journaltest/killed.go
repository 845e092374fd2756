package journaltest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
)

// workerEnv has a process be a worker: its value is what open takes.
const workerEnv = "HEXDAG_TEST_JOURNAL"

const (
	killedRun = "killed"
	// patience is for how long a run of a dead process is waited for, on a machine that has other things to do.
	patience = time.Minute
)

// Worker writes the journal of a run, says what is durable, and does not return, if this process was started for that: to be
// killed. A TestMain that has Killed called in its tests begins with it. open opens the store.
func Worker(open func(ctx context.Context, target string) (driver.Store, error)) {
	target, is := os.LookupEnv(workerEnv)
	if !is {
		return
	}
	fmt.Fprintln(os.Stderr, work(target, open))
	os.Exit(1)
}

// work takes the run up where it stands, and writes its entries.
func work(target string, open func(context.Context, string) (driver.Store, error)) error {
	ctx := context.Background()
	store, err := open(ctx, target)
	if err != nil {
		return err
	}
	head := run("acme", killedRun)
	if err := store.Create(ctx, head); errors.Is(err, driver.ErrExists) {
		head, err = claim(ctx, store)
		if err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // it ends when whoever started this process does
		os.Exit(1)
	}()
	w := journal.NewWriter(store, journal.WriterOptions{})
	r := w.Run(head, head.Entries+1)
	for {
		var seq uint64
		for range 5 {
			seq = r.Append(journal.Entry{Kind: journal.Enter, Lane: strconv.FormatUint(head.Epoch, 10), Value: strings.Repeat("x", rand.IntN(3000))})
		}
		if err := r.Sync(ctx); err != nil {
			return err
		}
		fmt.Println(seq)
	}
}

// claim takes the run when it is free.
func claim(ctx context.Context, store driver.Store) (*driver.Run, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		head, err := store.Claim(ctx, "acme", killedRun, false)
		if err == nil || !errors.As(err, new(*driver.Taken)) || time.Now().After(deadline) {
			return head, err
		}
	}
}

// Killed kills a process that writes a journal, as kill -9 does, several times over: each that follows takes the run up.
// What a process has said to be durable is there, whole and in order. open opens a store of this process's.
func Killed(t *testing.T, target string, open func(t *testing.T) driver.Store) {
	t.Helper()
	const times = 5
	acknowledged := uint64(0)
	for n := range times {
		seq := writeUntilKilled(t, target)
		if seq <= acknowledged {
			t.Fatalf("process %d went on with entry %d, after %d", n, seq, acknowledged)
		}
		acknowledged = seq
	}
	store := open(t)
	defer store.Close()
	head, err := claim(t.Context(), store)
	if err != nil {
		t.Fatal(err)
	}
	if head.Epoch != times+1 || head.Entries < acknowledged {
		t.Errorf("%+v, and %d entries were durable", head, acknowledged)
	}
	j, err := journal.Read(t.Context(), store, "acme", killedRun)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := j.All(t.Context())
	if err != nil || j.Torn != nil || uint64(len(entries)) != head.Entries {
		t.Fatalf("%d entries of %d: %v %v", len(entries), head.Entries, j.Torn, err)
	}
	last := "1"
	for _, e := range entries {
		if e.Lane < last {
			t.Fatalf("entry %d is of epoch %s, after one of %s", e.Seq, e.Lane, last)
		}
		last = e.Lane
	}
	w := journal.NewWriter(store, journal.WriterOptions{})
	r := w.Run(head, head.Entries+1)
	r.Append(journal.Entry{Kind: journal.End})
	if err := errors.Join(r.Close(t.Context(), "completed"), w.Close(t.Context())); err != nil {
		t.Error(err)
	}
}

// writeUntilKilled returns the last entry that the process has said to be durable.
func writeUntilKilled(t *testing.T, target string) (seq uint64) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env, cmd.Stderr = append(os.Environ(), workerEnv+"="+target), os.Stderr
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
	lines := bufio.NewScanner(out)
	for n := rand.IntN(40) + 1; lines.Scan(); n-- {
		if seq, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			_ = cmd.Process.Kill() // what it has said before is read to its end
		}
	}
	_ = cmd.Wait() // it says that it was killed
	if seq == 0 {
		t.Fatal("the process wrote nothing")
	}
	return seq
}
