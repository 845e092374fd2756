package locktest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
)

// Readme holds the README's table to what a backend promises, under the name that it has there.
func Readme(t *testing.T, name string, p driver.Promises) {
	t.Helper()
	yes := map[bool]string{true: "yes", false: "no"}
	row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %d | %s |", name, p.Scope, yes[p.Quorum], yes[p.Durable], yes[p.Fair], p.MinTTL, p.MaxPermits, p.Caveat)
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), row) {
			t.Errorf("the README does not have this line:\n%s", row)
		}
		return
	}
	t.Fatal("there is no go.mod above this folder")
}
