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

const outputDoc, requestDoc, replyDoc = int(abi.DocOutput), int(abi.DocRequest), int(abi.DocReply)

// resourceCases are group C: what a guest takes of the host is bounded.
func resourceCases() []Case {
	hook := func(name string) attack {
		return hooking(guest{name: name, limits: sandbox.Limits{Deadline: time.Second}})
	}
	call := new(probe.Script).Do(probe.Call, "test.big", 0, 0, 0, 0)
	flood := new(probe.Script).Repeat(1000, probe.Call, "test.echo", 0, 0, 0, 0).Do(probe.Call, "test.echo", 0, 0, 0, 0)
	talkative := theProbe()
	talkative.limits.BytesOut, talkative.limits.LogLine, talkative.limits.LogLines = 4<<20, 65_536, 1<<20
	labels := theProbe()
	labels.requests = append(labels.requests, map[string]any{"metrics.count": map[string]any{"name": "good"}})
	return []Case{
		{ID: "C23a", What: "grows its memory and touches all of it", Source: "grow.wat", Want: "within its limit", Memory: 96 << 20, attack: growth},
		{ID: "C23b", What: "grows a table for ever", Source: "grow-table.wat", Want: "continue|" + limited + "|" + trapped + "|" + refused, Memory: 96 << 20, attack: hook("grow-table")},
		{ID: "C23c", What: "declares a table of 400,000,000 entries", Source: "min-table.wat", Want: refused, Memory: 16 << 20, attack: hook("min-table")},
		{ID: "C24", What: "declares more memory than it may have", Source: "min-memory.wat", Want: refused, Memory: 16 << 20, attack: hook("min-memory")},
		{ID: "C26", What: "recurses without end", Source: "recurse.wat", Want: trapped + "|" + limited, Memory: 96 << 20, attack: hook("recurse")},
		{ID: "C27", What: "hooks the call that it makes, and so itself", Source: "reenter.wat", Want: "at most 32 levels", Time: 1500 * time.Millisecond, Memory: 160 << 20, Record: kernel.Allow, attack: reentry},
		{ID: "C29a", What: "writes an output of 2 GB", Source: "probe.wat", Want: "limit", attack: probing(theProbe(), new(probe.Script).Do(probe.Set, outputDoc, "/v", 4, 0, 1<<31).Do(probe.Append, outputDoc, 0, 1<<31))},
		{ID: "C29b", What: "writes a value for ever", Source: "probe.wat", Want: "limit", attack: probing(theProbe(), new(probe.Script).Repeat(100_000, probe.Set, outputDoc, "/list/-", 7, "{}").Repeat(60_000, probe.Set, outputDoc, "/v", 7, "{}"))},
		{ID: "C29c", What: "gives the host 64 KB over and over", Source: "probe.wat", Want: limited, attack: probing(talkative, new(probe.Script).Repeat(1000, probe.Log, 1, 0, 65_536))},
		{ID: "C30", What: "passes lengths that overflow", Source: "probe.wat", Want: "fault limit", attack: probing(theProbe(), overflows())},
		{ID: "C31a", What: "logs ten million lines", Source: "chatty.wat", Want: stopped + "|" + limited + "|continue", Time: 1200 * time.Millisecond, Memory: 32 << 20, attack: hook("chatty")},
		{ID: "C31b", What: "logs lines of 200 KB", Source: "probe.wat", Want: "at most 256 lines of 8 KiB", attack: longLines},
		{ID: "C35", What: "writes objects in objects, as small as can be", Source: "hoard.wat", Want: stopped + "|" + limited + "|continue", Time: 1300 * time.Millisecond, Memory: 96 << 20, attack: hook("hoard")},
		{ID: "C36", What: "asks for an answer of 32 MB", Source: "probe.wat", Want: "limit", Memory: 96 << 20, Record: kernel.Allow, attack: probing(theProbe(), call)},
		{ID: "C37", What: "passes JSON that is a bomb", Source: "probe.wat", Want: "invalid", attack: probing(theProbe(), jsonBombs())},
		{ID: "C39", What: "makes a thousand calls and one", Source: "probe.wat", Want: "ok limit", Record: kernel.Allow, attack: probing(theProbe(), flood)},
		{ID: "C39b", What: "counts under names of its own making", Source: "probe.wat", Want: "denied", Record: kernel.Forbid, attack: probing(labels, counters())},
		{ID: "C40", What: "describes a tool by a schema that doubles 19 times", Source: "deputy.wat", Want: refused + "|" + string(kernel.CodeArguments), Time: time.Second, attack: schemaBomb},
		{ID: "C41", What: "has a long pattern matched against a long argument", Source: "probe.wat", Want: "denied|invalid|limit|" + refused + "|refused", Time: time.Second, attack: patternBomb},
		{ID: "C42", What: "makes records of 200 KB each", Source: "probe.wat", Want: "records stay small", Time: 3 * time.Second, attack: recordBomb},
	}
}

func growth(ctx context.Context, s *site) string {
	const limit = 32 << 20
	m, err := s.load(ctx, guest{name: "grow", limits: sandbox.Limits{Memory: limit}})
	if err != nil {
		return shown(err)
	}
	s.begin()
	v, err := s.hook(ctx, m, nil)
	if err != nil {
		return shown(err)
	}
	if pages := v.Delay.Milliseconds(); v.Action != kernel.RetryAfter || pages<<16 > limit || pages<<16 < limit/2 {
		return fmt.Sprintf("it got %d pages", pages)
	}
	return "within its limit"
}

// reentry has a hook that calls what it hooks. Each level is an instance of 2 MB.
func reentry(ctx context.Context, s *site) string {
	m, err := s.load(ctx, guest{name: "reenter", requests: []any{"test.echo"}, limits: sandbox.Limits{Deadline: time.Second}})
	if err != nil {
		return shown(err)
	}
	ctx, door, err := s.hookedDoor(ctx, m)
	if err != nil {
		return err.Error()
	}
	s.begin()
	_, _ = door.Call(ctx, &kernel.PortCall{Op: "test.echo", Args: map[string]any{}, Caller: kernel.Caller{Principal: "mallory"}})
	if levels := m.Stats().Calls; levels > 32 {
		return fmt.Sprintf("%d levels", levels)
	}
	return "at most 32 levels"
}

// overflows are ranges that a sum of 32 bits would take for good ones.
func overflows() *probe.Script {
	const all = 0xFFFFFFFF
	return new(probe.Script).Do(probe.Random, all, 2).Do(probe.Append, requestDoc, all-63, 64).Do(probe.Field, 0, all, 1, 0, 0).
		Do(probe.Input, all, all).Do(probe.Body, 0, 0, all-1, all).Do(probe.Log, 0, all, all).
		Do(probe.Append, requestDoc, 1, all).Do(probe.Set, outputDoc, "/v", 4, 1, all)
}

// counters counts under hundreds of names, which are labels of the operator's metrics.
func counters() *probe.Script {
	s := new(probe.Script)
	for i := range 300 {
		s.Do(probe.Call, "metrics.count", fmt.Sprintf(`{"name":"good-%d"}`, i), 0, 0)
	}
	return s
}

func longLines(ctx context.Context, s *site) string {
	script := new(probe.Script).Repeat(1000, probe.Log, 3, 0, 200_000)
	if _, _, err := s.probe(ctx, theProbe(), script); err != nil {
		return shown(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lines, size := strings.Count(s.log.String(), "\n"), s.log.Len(); lines > 256 || size > 256*(8<<10) {
		return fmt.Sprintf("%d lines, %d bytes", lines, size)
	}
	return "at most 256 lines of 8 KiB"
}

func jsonBombs() *probe.Script {
	s := &probe.Script{}
	for _, text := range []string{
		strings.Repeat("[", 50_000), strings.Repeat(`{"":`, 10_000), `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `"\ud800"`, "\"\xff\"", "1e", "01", "Infinity", "[1]]",
	} {
		s.Do(probe.Set, outputDoc, "/v", 7, text)
		s.Do(probe.Call, "test.echo", text, 0, 0)
	}
	return s
}

// schemaBomb describes a tool whose arguments are checked 2^19 times.
func schemaBomb(ctx context.Context, s *site) string {
	var defs []string
	for i := range 19 {
		defs = append(defs, fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]}`, i, i+1, i+1))
	}
	schema := `{"$ref":"#/$defs/d0","$defs":{` + strings.Join(defs, ",") + `,"d19":{"type":"string"}}}`
	m, err := s.load(ctx, guest{name: "deputy", requests: []any{"test.echo"}, tools: []abi.Tool{{Name: "relay", InputSchema: []byte(schema)}}})
	if err != nil {
		return shown(err)
	}
	s.begin()
	_, err = m.CallTool(attackers(ctx), "relay", "x", "", kernel.Caller{Principal: "mallory"})
	return shown(err)
}

// patternBomb requests a pattern of 6 KB and asks for what it nearly matches.
func patternBomb(ctx context.Context, s *site) string {
	pattern := strings.Repeat("*a", 3000)
	g := theProbe()
	g.requests = append(slices.Clone(everything()[1:]), map[string]any{"test.echo": map[string]any{"topic": pattern}})
	if _, err := abi.ParseCapability(g.requests[len(g.requests)-1]); err != nil {
		return "refused"
	}
	return probing(g, new(probe.Script).Do(probe.Call, "test.echo", `{"topic":"`+strings.Repeat("a", 100_000)+`b"}`, 0, 0))(ctx, s)
}

// recordBomb makes calls whose resource, of which each record tells, is long.
func recordBomb(ctx context.Context, s *site) string {
	script := new(probe.Script).Repeat(100, probe.Call, "test.echo", `{"topic":"`+strings.Repeat("a", 200_000)+`"}`, 0, 0)
	if _, _, err := s.probe(ctx, theProbe(), script); err != nil {
		return shown(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.records) == 0 {
		return "no records"
	}
	for _, r := range s.records {
		if text, err := kernel.ToValue(r); err != nil || size(text) > 16<<10 {
			return fmt.Sprintf("a record has %d bytes", size(text))
		}
	}
	return "records stay small"
}

func size(v kernel.Value) int {
	text, _ := kernel.EncodeJSON(v)
	return len(text)
}
