package locktest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// holderEnv has a process be a holder: its value is a holder.
const holderEnv = "HEXDAG_TEST_HOLDER"

type holder struct {
	Target string // what open takes
	TTL    time.Duration
}

const killed = "killed"

// Holder takes a lock, keeps it, and does not return, if this process was started for that: to be
// killed. A TestMain that has Killed called in its tests begins with it. open opens the store.
func Holder(open func(ctx context.Context, target string) (driver.Store, error)) {
	text, is := os.LookupEnv(holderEnv)
	if !is {
		return
	}
	err := holdUntilKilled(text, open)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func holdUntilKilled(text string, open func(context.Context, string) (driver.Store, error)) error {
	var h holder
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return err
	}
	store, err := open(context.Background(), h.Target)
	if err != nil {
		return err
	}
	lease, err := lock.New(store, lock.Options{}).Acquire(context.Background(), "acme", killed, lock.Ask{TTL: h.TTL})
	if err != nil {
		return err
	}
	lease.Keep()
	fmt.Println(lease.Token())
	_, err = io.Copy(io.Discard, os.Stdin) // it ends when whoever started this process does
	return err
}

// Killed kills a process that holds a lock, as kill -9 does, and checks that the lock was held for as long as the process
// lived, is free within its TTL behind that, and has a greater token then. open opens a store of this
// process's, once before the lock is held if first says so.
func Killed(t *testing.T, target string, ttl time.Duration, first bool, open func(t *testing.T) driver.Store) {
	t.Helper()
	var store driver.Store
	if first {
		store = open(t)
	}
	kill, token := startHolder(t, holder{Target: target, TTL: ttl})
	if !first {
		store = open(t)
	}
	locks := lock.New(store, lock.Options{})
	ask := lock.Ask{TTL: ttl}
	for deadline := time.Now().Add(2 * ttl); time.Now().Before(deadline); time.Sleep(ttl / 10) {
		if _, err := locks.Acquire(t.Context(), "acme", killed, ask); kernel.CodeOf(err) != kernel.CodeLockHeld {
			t.Fatalf("the holder lives, and another gets: %v", err)
		}
	}
	kill()
	begun := time.Now()
	var lease *lock.Lease
	err := error(nil)
	for lease == nil && time.Since(begun) < ttl+patience { // what died may have run the server
		ask.Wait = ttl + patience
		if lease, err = locks.Acquire(t.Context(), "acme", killed, ask); err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	if err != nil {
		t.Fatal("nobody gets the lock of a dead process: ", err)
	}
	t.Logf("free %s after the kill, with a TTL of %s", time.Since(begun).Round(time.Millisecond), ttl)
	if took := time.Since(begun); took > ttl+patience {
		t.Errorf("the lock was held for %s", took)
	}
	if lease.Token() <= token {
		t.Errorf("token %d comes after %d", lease.Token(), token)
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Error(err)
	}
}

// patience is how much later than a TTL the lock of a dead process may be had, on a machine that
// has other things to do, and where another process has to take over the server.
const patience = 10 * time.Second

// startHolder returns what kills the process, which has the lock, and its token.
func startHolder(t *testing.T, h holder) (kill func(), token uint64) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env, cmd.Stderr = append(os.Environ(), holderEnv+"="+string(text)), os.Stderr
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
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it says that it was killed
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal("the holder has not the lock: ", err)
	}
	if token, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
		t.Fatal(err)
	}
	return kill, token
}
