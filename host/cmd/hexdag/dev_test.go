package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// await waits until the output says a text as often as it should.
func (o *output) await(t *testing.T, text string, times int) {
	t.Helper()
	said := func() string {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.buf.String()
	}
	for deadline := time.Now().Add(2 * time.Minute); strings.Count(said(), text) < times; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say %q %d times:\n%s", text, times, said())
		}
	}
}

func TestDev(t *testing.T) {
	testenv.NeedClang(t)
	dir := t.TempDir()
	cli(t, "", "new", "hook", "guard", "--lang", "c", "--dir", dir).wants(t, exitDone)
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut output
	ended := make(chan int, 1)
	go func() { ended <- execute(ctx, []string{"dev", dir}, strings.NewReader(""), &out, &errOut) }()
	edit := func(old, text string) {
		t.Helper()
		file := dir + "/guard.c"
		source, err := os.ReadFile(file)
		if err == nil && !strings.Contains(string(source), old) {
			t.Fatalf("the source has no %s", old)
		}
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Replace(string(source), old, text, 1)), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out.await(t, "2 calls, 0 failed; waiting for a change", 1)
	edit(`"too_long"`, `"too_much"`)
	out.await(t, "2 calls, 1 failed; waiting for a change", 1)
	out.await(t, `long: result   {"code":"too_long","reason":"the text has 5 bytes, max_bytes is 4"} -> {"code":"too_much",`, 1)
	out.await(t, "FAILED long: deny", 1)
	edit(`"too_much"`, `"too_long`)
	errOut.await(t, "error: the guest does not compile", 1)
	edit(`"too_long`, `"too_long"`)
	out.await(t, "2 calls, 0 failed; waiting for a change", 2)
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("exit code %d: %s", code, errOut.buf.String())
	}
}

func TestDevCall(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out, errOut output
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, []string{"dev", "../../../guests/redact", "--point", "node_before", "--input", `{"input": "ann@example.com"}`}, strings.NewReader(""), &out, &errOut)
	}()
	out.await(t, "node_before: replace, ", 1)
	out.await(t, "1 host calls", 1) // its metric, answered by a port in memory
	cancel()
	if code := <-ended; code != exitDone {
		t.Errorf("exit code %d: %s", code, errOut.buf.String())
	}
}

func TestDevRefuses(t *testing.T) {
	cli(t, "", "dev", t.TempDir()).refuses(t, exitBadInput, "there are no cases", "--record")
	cli(t, "", "dev", t.TempDir()+"/gone", "--point", "node_run").refuses(t, exitBadInput, "module.not_found", "cannot be looked at")
	cli(t, "", "dev", t.TempDir(), "--config", "{}").refuses(t, exitBadInput, "--point")
	cli(t, "", "dev", t.TempDir(), "--point", "node_run", "--input", "7").refuses(t, exitBadInput, "no JSON object")
}
