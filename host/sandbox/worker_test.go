package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// withWorker opens a runtime whose worker is a shell command.
func withWorker(t *testing.T, script string) (*sandbox.Runtime, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, err := sandbox.New(t.Context(), sandbox.Options{CacheDir: dir, Worker: []string{"/bin/sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r, dir
}

func files(t *testing.T, dir, prefix string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWorkerFillsTheCacheOnce(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	r, dir := withWorker(t, "cat >/dev/null; echo x >> "+log)
	for range 3 {
		m, err := r.Load(t.Context(), hostile(t, "canary"), sandbox.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := os.ReadFile(log)
	if err != nil || strings.Count(string(runs), "x") != 1 || len(files(t, dir, "compiled-")) != 1 {
		t.Errorf("the worker ran %d times (%v)", strings.Count(string(runs), "x"), err)
	}
}

func TestModuleThatKillsTheWorkerIsQuarantined(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	r, dir := withWorker(t, "cat >/dev/null; echo x >> "+log+"; kill -9 $$")
	for range 2 {
		_, err := r.Load(t.Context(), hostile(t, "canary"), sandbox.LoadOptions{})
		if kernel.CodeOf(err) != kernel.CodeModuleInvalid {
			t.Fatalf("%v", err)
		}
	}
	_, err := r.Load(t.Context(), hostile(t, "canary"), sandbox.LoadOptions{})
	if err == nil || !strings.Contains(err.Error(), "quarantined") || len(files(t, dir, "quarantine-")) != 1 {
		t.Errorf("%v", err)
	}
	if runs, _ := os.ReadFile(log); strings.Count(string(runs), "x") != 1 {
		t.Errorf("the worker ran %d times", strings.Count(string(runs), "x"))
	}
	// Another module is none the worse for it.
	if _, err := r.Load(t.Context(), hostile(t, "spin"), sandbox.LoadOptions{}); err == nil || strings.Contains(err.Error(), "quarantined") {
		t.Errorf("%v", err)
	}
}

func TestRefusedModuleIsNotQuarantined(t *testing.T) {
	r, dir := withWorker(t, "cat >/dev/null; echo 'no \033[31msense' >&2; exit 3")
	_, err := r.Load(t.Context(), hostile(t, "canary"), sandbox.LoadOptions{})
	if kernel.CodeOf(err) != kernel.CodeModuleInvalid || !strings.Contains(err.Error(), `no \x1b[31msense`) || len(files(t, dir, "quarantine-")) != 0 {
		t.Errorf("%v", err)
	}
}

func TestWorkerThatCannotStart(t *testing.T) {
	dir := t.TempDir()
	r, err := sandbox.New(t.Context(), sandbox.Options{CacheDir: dir, Worker: []string{filepath.Join(dir, "nobody")}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close(context.Background())
	if _, err := r.Load(t.Context(), hostile(t, "canary"), sandbox.LoadOptions{}); kernel.CodeOf(err) != kernel.CodeInternal || !strings.Contains(err.Error(), "cannot be started") {
		t.Errorf("%v", err)
	}
}

// A program that names itself as the worker and does not know it must not start
// itself without end.
func TestWorkerCannotOpenARuntime(t *testing.T) {
	t.Setenv("HEXDAG_COMPILE_WORKER", "1")
	if _, err := sandbox.New(t.Context(), sandbox.Options{}); err == nil || !strings.Contains(err.Error(), "CompileWorker") {
		t.Errorf("%v", err)
	}
}

func TestCacheThatOthersCanWriteToIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := sandbox.New(t.Context(), sandbox.Options{CacheDir: dir}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("%v", err)
	}
}
