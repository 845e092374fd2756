package testserver_test

import (
	"net"
	"testing"

	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/testserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRedis(t *testing.T) {
	r := testserver.NewRedis(t)
	dial(t, r.Addr, true)
	r.Kill()
	dial(t, r.Addr, false)
	r.Start()
	dial(t, r.Addr, true)
}

func TestPostgres(t *testing.T) {
	p := testserver.NewPostgres(t)
	if first, second := p.NewDatabase(), p.NewDatabase(); first == second {
		t.Error("two databases are one: ", first)
	}
	p.SQL("test1", "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
	p.Kill()
	dial(t, p.Addr, false)
	p.Start()
	if got := p.SQL("test1", "SELECT n FROM kept"); got != "7" {
		t.Errorf("after a crash: %q", got)
	}
}

func TestVectorPostgres(t *testing.T) {
	p := testserver.NewVectorPostgres(t)
	if got := p.SQL("postgres", "CREATE EXTENSION vector; SELECT '[1,2]'::vector <-> '[1,3]'::vector"); got != "1" {
		t.Errorf("the distance is %q", got)
	}
}

func dial(t *testing.T, addr string, lives bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if (err == nil) != lives {
		t.Errorf("%s: %v, want lives %v", addr, err, lives)
	}
	if err == nil {
		_ = conn.Close()
	}
}
