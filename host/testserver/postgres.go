//go:build unix

package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hexdag/hexdag/host/testenv"
)

// Postgres starts a PostgreSQL with an empty database, and returns its URL, too. It refuses to run as root, so that a
// test that does runs it as the user postgres. What it says is done outlives the server, but not the machine, unless settings, such as "fsync=on", say otherwise.
func Postgres(t testing.TB, settings ...string) (server *Process, url string) {
	t.Helper()
	testenv.NeedServer(t, "Postgres")
	bin := postgresBin(t)
	if bin == "" {
		testenv.Missing(t, "postgres; run 'make toolchains', or 'apt-get install -y postgresql'")
	}
	return postgres(t, bin, settings...)
}

// postgresBin returns the folder of the server's programs, "" if there is none.
func postgresBin(t testing.TB) string {
	t.Helper()
	programs, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // Debian has them in no PATH
	if err != nil {
		t.Fatal(err)
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		programs = append(programs, filepath.Join(filepath.Dir(path), "postgres"))
	}
	if len(programs) == 0 {
		return ""
	}
	return filepath.Dir(programs[0])
}

// postgres starts the server whose programs are in the folder bin.
func postgres(t testing.TB, bin string, settings ...string) (server *Process, url string) {
	t.Helper()
	attr, folder := postgresUser(t)
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", folder, "-U", "hexdag", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-N")
	initdb.SysProcAttr, initdb.Dir = attr, filepath.Dir(folder)
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	port := FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	url = fmt.Sprintf("postgres://hexdag@%s/postgres?sslmode=disable&connect_timeout=5", address)
	ready := func() error {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			return err
		}
		return conn.Close(t.Context())
	}
	server = start(t, address, ready, func() *exec.Cmd {
		cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", folder, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off")
		for _, setting := range settings {
			cmd.Args = append(cmd.Args, "-c", setting)
		}
		cmd.SysProcAttr, cmd.Dir = attr, filepath.Dir(folder)
		return cmd
	})
	return server, url
}

// postgresUser returns as whom to run, and a folder of that user's.
func postgresUser(t testing.TB) (*syscall.SysProcAttr, string) {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "data")
	if os.Getuid() != 0 {
		return nil, folder
	}
	who, err := user.Lookup("postgres")
	if err != nil {
		testenv.Missing(t, "a user postgres, as Debian's postgresql has it, and postgres does not run as root")
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := os.MkdirTemp("", "hexdag-test-postgres-") // the test's own folder is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(outer) })
	if err := os.Chown(outer, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, filepath.Join(outer, "data")
}
