package redteam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
)

// narrow is the probe with the right to some topics alone.
func narrow(pattern string) guest {
	g := theProbe()
	g.grants = append(slices.Clone(everything()[1:]), topic(pattern))
	return g
}

// echoes is a script that calls test.echo with each of the arguments.
func echoes(args ...string) *probe.Script {
	s := &probe.Script{}
	for _, a := range args {
		s.Do(probe.Call, "test.echo", a, 0, 0)
	}
	return s
}

func topics(values ...string) *probe.Script {
	for i, v := range values {
		values[i] = `{"topic":"` + v + `"}`
	}
	return echoes(values...)
}

// rightsCases are group F: no trick gets a guest further than its grants.
func rightsCases() []Case {
	ungranted := theProbe()
	ungranted.requests = slices.DeleteFunc(everything(), func(r any) bool { return r == "test.slow" })
	denied := func(id, what, pattern string, s *probe.Script) Case {
		return Case{ID: id, What: what, Source: "probe.wat", Want: "denied", Record: kernel.Forbid, attack: unreached(narrow(pattern), s)}
	}
	typed := denied("F58c", "passes a granted topic as another type", "1", echoes(`{"topic":1}`, `{"topic":["1"]}`, `{"topic":{"1":"1"}}`, `{"topic":true}`))
	typed.Want = "invalid"
	return []Case{
		{ID: "F58a", What: "calls an operation that it has no grant for", Source: "probe.wat", Want: "denied", Record: kernel.Forbid, attack: unreached(ungranted, new(probe.Script).Do(probe.Call, "test.slow", 0, 0, 0, 0))},
		denied("F58b", "passes arguments that it has no grant for", "orders", echoes(`{"topic":"payments"}`, `{"key":"orders"}`, `{}`, `{"topic":null}`, `{"Topic":"orders"}`)),
		typed,
		{ID: "F59", What: "has a tool call what its caller may not", Source: "deputy.wat", Want: "denied", Record: kernel.Forbid, attack: deputy},
		{ID: "F62", What: "says that it is another run, tenant and principal", Source: "probe.wat", Want: "the record tells the truth", Record: kernel.Allow, attack: impersonation},
		denied("F65a", "spells a granted topic in other ways", "orders", topics("ORDERS", "orders ", " orders", "orders.", `orders\u0000`, "./orders", "orders/", "%6frders", "ord\u0435rs", "")),
		denied("F65b", "passes patterns as topics", "orders", topics("*", "**", "orders*", "o?ders", "[o]rders", "orders|payments", `.*`)),
		denied("F65c", "leaves a folder that it may write to", "files/*", topics("files/..", "files/../secret", "files/a/../../secret", "../files/a", "/files/a", `files\\..\\secret`)),
		denied("F65d", "goes deeper than its pattern", "orders.*", topics("orders.a.b", "orders.a/b", "orders.a:b", "orders", "ordersX", "xorders.a")),
		{ID: "F67a", What: "is a hook that traps", Source: "no-name.wat", Want: trapped, Record: kernel.Allow, attack: guarding("no-name")},
		{ID: "F67b", What: "is a hook that gives no verdict", Source: "exit-0.wat", Want: trapped, Record: kernel.Allow, attack: guarding("exit-0")},
		{ID: "F67c", What: "is a hook that turns a call into one that its caller may not make", Source: "probe.wat", Want: string(kernel.CodeDenied), Record: kernel.Forbid, attack: widening},
		{ID: "F69", What: "is another module than the one that was approved", Source: "canary.wat", Want: invalid, attack: otherSection},
		{ID: "H82", What: "asks what there is that it may not see", Source: "probe.wat", Want: "no difference", Record: kernel.Forbid, attack: oracle},
	}
}

// unreached is probing that also makes sure that the operation was never done.
func unreached(g guest, script *probe.Script) attack {
	return func(ctx context.Context, s *site) string {
		got := probing(g, script)(ctx, s)
		if len(s.calls) > 0 {
			return fmt.Sprintf("%s, and done with %v", got, s.calls[0].Args)
		}
		return got
	}
}

// deputy has a tool that may do everything called by a module that may do nothing.
func deputy(ctx context.Context, s *site) string {
	m, err := s.load(ctx, guest{name: "deputy", requests: []any{"test.echo"}, tools: []abi.Tool{{Name: "relay"}}})
	if err != nil {
		return shown(err)
	}
	nothing := kernel.ModuleRights{Name: "mallory", Check: func(string, map[string]string) error {
		return &kernel.Error{Code: kernel.CodeDenied, What: "it has no rights"}
	}}
	_, err = m.CallTool(attackers(ctx), "relay", map[string]any{"topic": "orders"}, "", kernel.Caller{Principal: "mallory", Modules: []kernel.ModuleRights{nothing}})
	var e *kernel.Error
	if !errors.As(err, &e) || e.Code != kernel.CodeRetry || len(s.calls) > 0 {
		return fmt.Sprintf("%v, done %d times", err, len(s.calls))
	}
	return (-abi.Status(e.RetryAfter.Milliseconds())).String()
}

func impersonation(ctx context.Context, s *site) string {
	script := echoes(`{"topic":"orders","run_id":"other","tenant":"alice","principal":"root","chain":["root"],"node":"other"}`)
	if results, _, err := s.probe(ctx, theProbe(), script); err != nil || results[0] != 0 {
		return fmt.Sprintf("%v, %v", results, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.records {
		if r.RunID != "attack" || r.Tenant != "mallory-inc" || r.Principal != "mallory" || !slices.Equal(r.Chain, []string{"mallory", "module:probe"}) {
			return fmt.Sprintf("%+v", r)
		}
	}
	return "the record tells the truth"
}

// guarding puts a module as a hook around a call, which must not happen.
func guarding(name string) attack {
	return func(ctx context.Context, s *site) string {
		m, err := s.load(ctx, guest{name: name})
		if err != nil {
			return shown(err)
		}
		ctx, door, err := s.hookedDoor(ctx, m)
		if err != nil {
			return err.Error()
		}
		_, err = door.Call(ctx, &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "orders"}, Caller: kernel.Caller{Principal: "mallory"}})
		if len(s.calls) > 0 {
			return "the call happened"
		}
		return shown(err)
	}
}

// widening has a hook with every right patch the call of a module with few.
func widening(ctx context.Context, s *site) string {
	m, err := s.load(ctx, theProbe())
	if err != nil {
		return shown(err)
	}
	ctx, door, err := s.hookedDoor(ctx, m)
	if err != nil {
		return err.Error()
	}
	orders := kernel.ModuleRights{Name: "mallory", Check: func(_ string, args map[string]string) error {
		if args["topic"] == "orders" {
			return nil
		}
		return &kernel.Error{Code: kernel.CodeDenied, What: "only orders"}
	}}
	script := new(probe.Script).Do(probe.Set, 0, "/args/topic", 4, "payments")
	script.Result = uint64(abi.Replace)
	_, err = door.Call(ctx, &kernel.PortCall{Op: "test.echo", Args: map[string]any{"topic": "orders"}, Body: script.Image(),
		Caller: kernel.Caller{Principal: "mallory", Modules: []kernel.ModuleRights{orders}}})
	if len(s.calls) > 0 {
		return "the call happened"
	}
	return shown(err)
}

// oracle compares what two refusals say, but for the name in them.
func oracle(ctx context.Context, s *site) string {
	message := func(name string) string {
		script := topics(name).Do(probe.Field, replyDoc, "/message", free, 1000).Do(probe.Append, outputDoc, free, 1000)
		_, before, err := s.probe(ctx, narrow("mine"), script)
		return fmt.Sprintf("%s %v", strings.ReplaceAll(string(before), name, "…"), err)
	}
	if a, b := message("alice"), message("nobod"); a != b {
		return kernel.Quote(a + " and " + b)
	}
	return "no difference"
}
