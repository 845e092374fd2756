// Package testenv is what tests have to know of the machine that they run on.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// NeedProgram returns the path of a program. Where it is missing the test is skipped,
// and says so; in CI, which has to have it, it fails. packages are Debian's.
func NeedProgram(t testing.TB, program, packages string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		Missing(t, program+"; run 'make toolchains', or 'apt-get install -y "+packages+"'")
	}
	return path
}

// NeedClang is NeedProgram of the compiler that guests in C are built with.
func NeedClang(t testing.TB) string {
	t.Helper()
	return NeedProgram(t, "clang-14", "clang-14 lld-14")
}

// NeedServer skips a test in -short, which is for minutes: starting a real server takes seconds,
// and what is held to one mostly waits.
func NeedServer(t testing.TB, server string) {
	t.Helper()
	if testing.Short() {
		t.Skip("NOT CHECKED in -short: on a real ", server)
	}
}

// Missing skips a test because of what is not there, and says so; in CI it fails.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal("CI needs ", what)
	}
	t.Skip("NOT CHECKED: there is no ", what)
}

// Home makes a home of its own for this process, with Go's caches where they are, and
// returns what removes it. It is for TestMain.
func Home() (remove func(), err error) {
	env := map[string]string{}
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		env[name] = strings.TrimSpace(string(value))
	}
	home, err := os.MkdirTemp("", "hexdag-test-")
	if err != nil {
		return nil, err
	}
	env["HOME"], env["XDG_CACHE_HOME"], env["XDG_CONFIG_HOME"] = home, filepath.Join(home, "cache"), filepath.Join(home, "config")
	for name, value := range env {
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return func() { _ = os.RemoveAll(home) }, nil
}
