package testserver

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// Postgres is a Postgres server whose superuser is named postgres and has no password.
type Postgres struct {
	Addr string // host:port

	t         testing.TB
	bin       string
	dir       string // of the data, which belongs to the server's user
	port      int
	process   *process
	databases atomic.Int64
}

// NewPostgres starts a Postgres server. It skips the test, or in CI fails it, where there
// is none. As root it runs as another user, since Postgres refuses root.
func NewPostgres(t testing.TB) *Postgres {
	t.Helper()
	bin := postgresBin()
	if bin == "" {
		testenv.Missing(t, "Postgres; run 'make toolchains', or 'apt-get install -y postgresql'")
	}
	return NewPostgresOf(t, bin)
}

// NewPostgresOf starts the Postgres server whose programs are in the folder bin.
func NewPostgresOf(t testing.TB, bin string) *Postgres {
	t.Helper()
	dir, err := os.MkdirTemp("", "hexdag-postgres-") // a test's own folder is root's alone
	if err != nil {
		t.Fatal(err)
	}
	p := &Postgres{t: t, bin: bin, dir: dir}
	t.Cleanup(func() {
		if p.process != nil {
			p.Kill()
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := give(dir); err != nil {
		t.Fatal(err)
	}
	p.run("initdb", "--pgdata", p.data(), "--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	for range attempts {
		p.port = freePort(t)
		p.Addr = loopback(p.port)
		if p.start() {
			return p
		}
	}
	t.Fatalf("postgres does not start:\n%s", p.process.out.String())
	return nil
}

// postgresBin returns the folder of the newest server's programs, or "".
func postgresBin() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // Debian's; the pattern is good
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
		return filepath.Dir(found[len(found)-1])
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return ""
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // beside which the others are
	}
	return filepath.Dir(path)
}

// version is the number in such a path.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 where it is none
	return n
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// run runs one of the server's programs to its end.
func (p *Postgres) run(program string, args ...string) {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, program), args...)
	cmd.Dir = p.dir
	asServer(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (p *Postgres) start() bool {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, "postgres"), "-D", p.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-k", p.dir, "-c", "log_min_messages=fatal")
	cmd.Dir = p.dir
	asServer(cmd)
	dieWithParent(cmd)
	p.process = start(p.t, cmd)
	return p.process.ready(p.t, p.ping)
}

// startup asks for a session of the superuser, by version 3.0 of the protocol.
var startup = []byte("\x00\x00\x00\x17\x00\x03\x00\x00user\x00postgres\x00\x00")

// ping asks for a session: a server that still starts refuses it.
func (p *Postgres) ping() error {
	conn, err := net.DialTimeout("tcp", p.Addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(startup); err != nil {
		return err
	}
	answer := make([]byte, 256)
	n, err := conn.Read(answer)
	if err == nil && answer[0] != 'R' {
		return fmt.Errorf("it answers %q", bytes.TrimSpace(answer[:n]))
	}
	return err
}

// URL returns the connection string of one of the server's databases.
func (p *Postgres) URL(database string) string {
	return "postgres://postgres@" + p.Addr + "/" + database + "?sslmode=disable"
}

// NewDatabase makes an empty database and returns its connection string.
func (p *Postgres) NewDatabase() string {
	p.t.Helper()
	name := "test" + strconv.FormatInt(p.databases.Add(1), 10)
	p.SQL("postgres", "CREATE DATABASE "+name)
	return p.URL(name)
}

// SQL has psql run statements as the superuser, and returns what it prints.
func (p *Postgres) SQL(database, statements string) string {
	p.t.Helper()
	cmd := exec.Command(filepath.Join(p.bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", p.URL(database))
	cmd.Stdin = strings.NewReader(statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// Kill ends the server as a power cut does; its children notice and end, too.
func (p *Postgres) Kill() { p.process.kill() }

// Start starts a killed server again, at the same address with what it had kept.
func (p *Postgres) Start() {
	p.t.Helper()
	deadline := time.Now().Add(patience)
	for !p.start() { // until the last of its children is gone
		if time.Now().After(deadline) {
			p.t.Fatalf("postgres does not start again:\n%s", p.process.out.String())
		}
	}
}
