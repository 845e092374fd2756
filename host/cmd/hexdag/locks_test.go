package main

import (
	"strings"
	"testing"

	"github.com/hexdag/hexdag/host"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/testserver"
)

func TestLocks(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec:\n  tenant: acme\n  ports: {lock: {adapter: redis, config: {url: 'redis://" + testserver.Redis(t).Address() + "'}}}\n",
		"alone.yaml":  "kind: Config\nspec: {}\n",
		"wrong.yaml":  "kind: Config\nspec:\n  ports: {lock: {adapter: redis, config: {url: 'redis://127.0.0.1:1'}}}\n",
	})
	config := []string{"--config", at("hexdag.yaml")}
	with := func(args ...string) ran { return cli(t, "", append(args, config...)...) }
	with("locks", "list").wants(t, exitDone, "no lock is held")
	with("locks", "who", "orders").wants(t, exitDone, "nobody holds orders")

	cfg, err := host.LoadConfig(at("hexdag.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	locks, tenant, err := host.OpenLocks(t.Context(), cfg)
	if err != nil || tenant != "acme" {
		t.Fatal(tenant, err)
	}
	defer locks.Close()
	for _, ask := range []struct {
		tenant, name string
		permits      int
	}{{"acme", "orders", 1}, {"acme", "calls", 3}, {"other", "secret", 1}} {
		if _, err := locks.Acquire(t.Context(), ask.tenant, ask.name, lock.Ask{Permits: ask.permits, Owner: lock.Owner{Principal: "ada\x1b[31m", Run: "r1", Pipeline: "import", Node: "write", Module: "loader"}}); err != nil {
			t.Fatal(err)
		}
	}
	list := with("locks", "list")
	list.wants(t, exitDone, `orders  held by ada\x1b[31m, run r1, pipeline import, node write, module loader`, "token ", "ends in ", "calls  held by", "one of 3 permits")
	if strings.Contains(list.out, "secret") {
		t.Errorf("another tenant's lock is shown:\n%s", list.out)
	}
	who := with("locks", "who", "orders")
	who.wants(t, exitDone, "orders  held by")
	if strings.Contains(who.out, "calls") {
		t.Errorf("another lock is shown:\n%s", who.out)
	}
	got := decode[[]heldLock](t, with("locks", "who", "orders", "--json").out)
	if len(got) != 1 || got[0].Name != "orders" || got[0].Run != "r1" || got[0].Token == 0 || got[0].Permits != 1 || got[0].ExpiresIn <= 0 || got[0].Since.IsZero() {
		t.Errorf("%+v", got)
	}
	if got := decode[[]heldLock](t, with("locks", "who", "nobody", "--json").out); len(got) != 0 {
		t.Errorf("%+v", got)
	}

	cli(t, "", "locks", "list", "--config", at("alone.yaml")).refuses(t, exitFailed, "keeps them in the process", "adapter: nats")
	cli(t, "", "locks", "list", "--config", at("wrong.yaml")).refuses(t, exitFailed, "port.unavailable", "Redis cannot be reached", "wrong.yaml:3:")
}
