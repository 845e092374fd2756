package redteam

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// free is an address that the probe's scripts leave alone.
const free = 0x20000

// boundaryCases are group D where it is about addresses and numbers.
func boundaryCases() []Case {
	const end = probe.MemorySize
	inside := new(probe.Script).Do(probe.Random, end-1, 1).Do(probe.Append, requestDoc, end-1, 1).Do(probe.Append, requestDoc, 0, 0).Do(probe.Field, 0, 0, 0, end-1, 0).Do(probe.Log, 0, end-3, 3)
	outside := new(probe.Script).Do(probe.Random, end, 1).Do(probe.Random, end-1, 2).Do(probe.Append, requestDoc, end, 1).Do(probe.Field, 0, end-1, 2, 0, 0).
		Do(probe.Keys, 0, end, 1, 0, 0).Do(probe.Input, end-1, 1<<20).Do(probe.Set, outputDoc, "/v", 4, end-1, 2).Do(probe.Call, end-1, 2, 0, 0, 0, 0).Do(probe.Log, 0, end, 1)
	unknown := new(probe.Script).Do(probe.Field, 5, "", 0, 0).Do(probe.Keys, 1<<31, "", 0, 0).Do(probe.Body, 99, 0, 0, 0).Do(probe.Append, 7, "x").
		Do(probe.Set, outputDoc, "/v", 8, "1").Do(probe.Clock, 2).Do(probe.Call, "no.op", 0, 0, 0, 0).Do(probe.Call, strings.Repeat("o", 129), 0, 0, 0, 0)
	malformed := new(probe.Script).Do(probe.Field, 0, "args", 0, 0).Do(probe.Field, 0, "/~", 0, 0).Do(probe.Field, 0, "/~2", 0, 0).Do(probe.Set, outputDoc, "/\xff", 4, "v").
		Do(probe.Call, "test.echo", "[]", 0, 0).Do(probe.Call, "test.echo", "{} {}", 0, 0).Do(probe.Set, outputDoc, "/v", 2, "1").Do(probe.Set, outputDoc, "/v", 4, "\xff")
	forbidden := new(probe.Script).Do(probe.Set, 0, "", 7, "{}").Do(probe.Set, 0, "/run/tenant", 4, "bob").Do(probe.Set, 0, "/chain/0", 4, "root").Do(probe.Set, 0, "/args2", 4, "x").
		Do(probe.Set, 1, "/x", 4, "x").Do(probe.Set, replyDoc, "/x", 4, "x").Do(probe.Append, 0, "x").Do(probe.Append, replyDoc, "x")
	long := new(probe.Script).Do(probe.Field, 0, strings.Repeat("/a", 65), 0, 0).Do(probe.Field, 0, "/"+strings.Repeat("a", 1024), 0, 0).Do(probe.Set, outputDoc, strings.Repeat("/a", 65), 4, "v").Do(probe.Random, 0, 1<<16+1)
	high := sandbox.Limits{Memory: 4 << 30}
	return []Case{
		{ID: "D40a", What: "uses the last byte of its memory", Source: "probe.wat", Want: "ok", attack: probing(theProbe(), inside)},
		{ID: "D40b", What: "uses the byte behind the last", Source: "probe.wat", Want: "fault", attack: probing(theProbe(), outside)},
		{ID: "D41a", What: "declares 4 GiB", Source: "min-memory-4g.wat", Want: refused, attack: hooking(guest{name: "min-memory-4g", limits: high})},
		{ID: "D41b", What: "reads where an address ends at 4 GiB", Source: "high-load.wat", Want: trapped, attack: hooking(guest{name: "high-load", limits: high})},
		{ID: "D44", What: "changes a request after it was made", Source: "probe.wat", Want: "the host kept its copy", Record: kernel.Allow, attack: changedRequest},
		{ID: "D48a", What: "names documents, kinds, clocks and operations that are not there", Source: "probe.wat", Want: "unsupported", attack: probing(theProbe(), unknown)},
		{ID: "D48b", What: "passes paths, values and requests that are malformed", Source: "probe.wat", Want: "invalid", attack: probing(theProbe(), malformed)},
		{ID: "D48c", What: "writes what it may not", Source: "probe.wat", Want: "denied", attack: probing(theProbe(), forbidden)},
		{ID: "D48d", What: "passes paths and lengths that are too long", Source: "probe.wat", Want: "limit", attack: probing(theProbe(), long)},
	}
}

// changedRequest overwrites its memory right after two calls.
func changedRequest(ctx context.Context, s *site) string {
	script := new(probe.Script).Do(probe.Call, "test.echo", `{"topic":"kept"}`, "kept").
		Do(probe.Set, requestDoc, "/topic", 4, "kept").Do(probe.Append, requestDoc, "kept").Do(probe.Call, "test.echo", 0, 0, 0, 0).
		Do(probe.Fill, probe.DataAt, 'Z', 1000)
	if _, _, err := s.probe(ctx, theProbe(), script); err != nil {
		return shown(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.calls) != 2 || s.calls[0].Op != "test.echo" || slices.ContainsFunc(s.calls, func(c kernel.PortCall) bool { return c.Args["topic"] != "kept" || string(c.Body) != "kept" }) {
		return fmt.Sprintf("the host has %+v", s.calls)
	}
	return "the host kept its copy"
}

// protocolCases are group D where it is about what comes when.
func protocolCases() []Case {
	verdict := func(v abi.Verdict) *probe.Script { return &probe.Script{Result: uint64(v)} }
	early := guest{name: "early", requests: []any{"test.echo", abi.OpClock, abi.OpRandom}}
	return []Case{
		{ID: "D42a", What: "writes outside of the memory of Extism", Source: "extism-far.wat", Want: trapped, attack: hooking(guest{name: "extism-far"})},
		{ID: "D42b", What: "allocates in the memory of Extism for ever", Source: "extism-huge.wat", Want: limited, Memory: 256 << 20, attack: hooking(guest{name: "extism-huge", limits: sandbox.Limits{Deadline: 10 * time.Second}})},
		{ID: "D47", What: "uses and frees handles of Extism that it does not have", Source: "extism-handles.wat", Want: "continue", attack: hooking(guest{name: "extism-handles"})},
		{ID: "D46a", What: "uses its rights in _initialize", Source: "early.wat", Want: "denied each", attack: func(ctx context.Context, s *site) string { return earlyRights(ctx, s, early) }},
		{ID: "D46b", What: "traps in _initialize", Source: "trap-init.wat", Want: trapped, attack: hooking(guest{name: "trap-init"})},
		{ID: "D46c", What: "traps in its start function", Source: "trap-start.wat", Want: trapped, attack: hooking(guest{name: "trap-start"})},
		{ID: "D46d", What: "returns a verdict that there is not", Source: "probe.wat", Want: string(kernel.CodeABI), attack: probing(theProbe(), verdict(6))},
		{ID: "D46e", What: "exits with 0", Source: "exit-0.wat", Want: trapped, attack: hooking(guest{name: "exit-0"})},
		{ID: "D46f", What: "exits with the engine's code of a deadline", Source: "exit-deadline.wat", Want: trapped, attack: hooking(guest{name: "exit-deadline"})},
		{ID: "D46g", What: "exits in _initialize", Source: "exit-init.wat", Want: trapped, attack: hooking(guest{name: "exit-init"})},
		{ID: "D46h", What: "reads a reply before it called anything", Source: "probe.wat", Want: "ok not_found", attack: probing(theProbe(), new(probe.Script).Do(probe.Field, replyDoc, "", 0, 0).Do(probe.Body, replyDoc, 0, 0, 8).Do(probe.Keys, replyDoc, "", 0, 0))},
		{ID: "D46i", What: "asks a hook's caller to wait for 49 days", Source: "probe.wat", Want: stopped + "|" + limited + "|" + string(kernel.CodeABI), Time: 2500 * time.Millisecond, Record: kernel.Allow, attack: longWait},
		{ID: "D49", What: "calls an operation in which the host panics", Source: "probe.wat", Want: string(kernel.CodeInternal), Record: kernel.Allow, attack: probing(theProbe(), new(probe.Script).Do(probe.Call, "test.panic", 0, 0, 0, 0))},
	}
}

func earlyRights(ctx context.Context, s *site, g guest) string {
	m, err := s.load(ctx, g)
	if err != nil {
		return shown(err)
	}
	v, err := s.hook(ctx, m, nil)
	if err != nil {
		return shown(err)
	}
	if got := v.Delay.Milliseconds(); got != 0x020202 {
		return fmt.Sprintf("call, clock and random answered %#x", got)
	}
	return "denied each"
}

// longWait runs a hook that always says "again, in 49 days", for two seconds.
func longWait(ctx context.Context, s *site) string {
	m, err := s.load(ctx, theProbe())
	if err != nil {
		return shown(err)
	}
	ctx, door, err := s.hookedDoor(ctx, m)
	if err != nil {
		return err.Error()
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	script := probe.Script{Result: abi.Pack(abi.RetryAfter, 1<<32-1)}
	s.begin()
	_, err = door.Call(ctx, &kernel.PortCall{Op: "test.echo", Args: map[string]any{}, Body: script.Image(), Caller: kernel.Caller{Principal: "mallory"}})
	return shown(err)
}
