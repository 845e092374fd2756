package redteam

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

const ebadf = 8

// outputCases are the groups G and H: there are no files, nothing is left for
// the next call, and what a guest says is shown as text.
func outputCases() []Case {
	return []Case{
		{ID: "G70", What: "opens paths that lead out of a folder", Source: "probe.wat", Want: "EBADF", attack: opening("../", "/etc/passwd", "./a/../../b", "..\\..", "//", "")},
		{ID: "G73", What: "calls every function of WASI for files and sockets", Source: "probe.wat", Want: "EBADF", attack: everyFile},
		{ID: "G75", What: "opens devices and the process's own files", Source: "probe.wat", Want: "EBADF", attack: opening("/proc/self/environ", "/dev/zero", "CON", "NUL", "/proc/self/mem")},
		{ID: "H77a", What: "looks for what the last call left", Source: "probe.wat", Want: "nothing", attack: leftovers(func(s *probe.Script) *probe.Script { return s })},
		{ID: "H77b", What: "looks for what a call left that trapped", Source: "probe.wat", Want: "nothing", attack: leftovers(func(s *probe.Script) *probe.Script { return s.Do(probe.Trap) })},
		{ID: "H77c", What: "leaves its mark in a table and drops a segment", Source: "sticky.wat", Want: "nothing", attack: sticking("sticky", 1)},
		{ID: "H77d", What: "leaves its mark all over a big memory", Source: "sticky-big.wat", Want: "nothing", attack: sticking("sticky-big", 7)},
		{ID: "H78", What: "reads clocks without a grant", Source: "probe.wat", Want: "denied, and a clock that stands", Record: "", attack: clocks},
		{ID: "H79a", What: "asks for randomness without a grant", Source: "probe.wat", Want: "denied and EPERM", attack: randomWithout},
		{ID: "H79b", What: "compares the randomness of two calls", Source: "probe.wat", Want: "they differ", attack: randomTwice},
		{ID: "H79c", What: "asks WASI for randomness and requests none", Source: "wasi-random.wat", Want: "EPERM", attack: wasiRandom},
		{ID: "H81a", What: "logs line ends, escapes and fake JSON", Source: "probe.wat", Want: "one escaped line", attack: loggedEscapes},
		{ID: "H81b", What: "has a function whose name is an escape sequence trap", Source: "no-name.wat", Want: trapped, attack: nastyName},
		{ID: "H81c", What: "denies for a reason full of escapes", Source: "probe.wat", Want: "denied, escaped", attack: nastyReason},
	}
}

func opening(paths ...string) attack {
	script := &probe.Script{}
	for _, p := range paths {
		script.Do(probe.WASIFunc("path_open"), 3, 1, p, 9, 0, 0, 0, free)
	}
	return func(ctx context.Context, s *site) string { return errnos(ctx, s, script) }
}

// errnos has the probe do a script of WASI's functions, all of which should
// answer that there is no such descriptor.
func errnos(ctx context.Context, s *site, script *probe.Script) string {
	results, _, err := s.probe(ctx, theProbe(), script)
	if err != nil {
		return shown(err)
	}
	for i, errno := range results {
		if errno != ebadf {
			return fmt.Sprintf("call %d answered %d", i, errno)
		}
	}
	return "EBADF"
}

func everyFile(ctx context.Context, s *site) string {
	script := &probe.Script{}
	for _, f := range probe.WASI {
		name, params, _ := strings.Cut(f, " ")
		if group, _, _ := strings.Cut(name, "_"); group == "path" || group == "fd" || group == "sock" {
			args := make([]any, len(params))
			for i := range args {
				args[i] = free
			}
			args[0] = 3
			script.Do(probe.WASIFunc(name), args...)
		}
	}
	return errnos(ctx, s, script)
}

// leftovers has one call leave its mark everywhere and another look for it.
func leftovers(end func(*probe.Script) *probe.Script) attack {
	return func(ctx context.Context, s *site) string {
		m, err := s.load(ctx, theProbe())
		if err != nil {
			return shown(err)
		}
		const last = probe.MemorySize - 1
		stain := end(new(probe.Script).Do(probe.Store, last, 0xC5).Do(probe.Grow, 1).Do(probe.Store, last+2, 0xC6).Do(probe.SetGlobal, 99).
			Do(probe.Set, outputDoc, "/v", 4, "secret").Do(probe.Call, "test.echo", `{"topic":"secret"}`, 0, 0))
		look := new(probe.Script).Do(probe.Size).Do(probe.Load, last).Do(probe.GetGlobal).Do(probe.CallTable, 0).Do(probe.InitMemory, free).Do(probe.Load, free).
			Do(probe.Grow, 1).Do(probe.Load, last+2).Do(probe.Field, outputDoc, "", 0, 0).Do(probe.Field, replyDoc, "", 0, 0)
		want := fmt.Sprint([]int64{4, 0, 1, 1, 0, 'd', 4, 0, 0, 0})
		for range 3 {
			_, _ = s.hook(ctx, m, stain.Image()) // how it ends is not the point
			v, err := s.hook(ctx, m, look.Image())
			if err != nil {
				return shown(err)
			}
			if got, _, err := look.Results(v.Body); err != nil || fmt.Sprint(got) != want {
				return fmt.Sprintf("found %v, %v", got, err)
			}
		}
		return "nothing"
	}
}

// sticking calls a guest that tells what it found; clean is what a first call finds.
func sticking(name string, clean int64) attack {
	return func(ctx context.Context, s *site) string {
		m, err := s.load(ctx, guest{name: name})
		if err != nil {
			return shown(err)
		}
		for range 4 {
			v, err := s.hook(ctx, m, nil)
			if err != nil || v.Delay.Milliseconds() != clean {
				return fmt.Sprintf("%+v, %v", v, err)
			}
		}
		return "nothing"
	}
}

// unprivileged has the probe do a script on behalf of nobody: with no host
// behind it, it has no rights at all.
func (s *site) unprivileged(ctx context.Context, script *probe.Script) ([]int64, []byte, error) {
	m, err := s.runtime.Load(ctx, wasm("probe"), sandbox.LoadOptions{Name: "probe"})
	if err != nil {
		return nil, nil, err
	}
	defer m.Close(ctx)
	out, err := m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Body: script.Image()})
	if err != nil {
		return nil, nil, err
	}
	return script.Results(out.Body)
}

func clocks(ctx context.Context, s *site) string {
	script := func() *probe.Script {
		return new(probe.Script).Do(probe.Clock, 0).Do(probe.Clock, 1).Do(probe.WASIFunc("clock_time_get"), 0, 1, free).Do(probe.Append, outputDoc, free, 8)
	}
	var times []uint64
	for range 2 {
		results, before, err := s.unprivileged(ctx, script())
		if err != nil || results[0] != int64(abi.Denied) || results[1] != int64(abi.Denied) {
			return fmt.Sprintf("%v, %v", results, err)
		}
		times = append(times, binary.LittleEndian.Uint64(before))
	}
	if times[0] != times[1] {
		return fmt.Sprint("the clock moved: ", times)
	}
	return "denied, and a clock that stands"
}

func randomWithout(ctx context.Context, s *site) string {
	results, _, err := s.unprivileged(ctx, new(probe.Script).Do(probe.Random, free, 8).Do(probe.WASIFunc("random_get"), free, 8).Do(probe.Load, free))
	if err != nil || fmt.Sprint(results) != "[-2 63 0]" {
		return fmt.Sprintf("%v, %v", results, err)
	}
	return "denied and EPERM"
}

func randomTwice(ctx context.Context, s *site) string {
	draw := func() string {
		_, before, err := s.probe(ctx, theProbe(), new(probe.Script).Do(probe.Random, free, 16).Do(probe.WASIFunc("random_get"), free+16, 16).Do(probe.Append, outputDoc, free, 32))
		if err != nil {
			return err.Error()
		}
		return string(before)
	}
	a, b := draw(), draw()
	if len(a) != 32 || a[:16] == b[:16] || a[16:] == b[16:] || a[:16] == a[16:] {
		return fmt.Sprintf("%x and %x", a, b)
	}
	return "they differ"
}

func wasiRandom(ctx context.Context, s *site) string {
	m, err := s.load(ctx, guest{name: "wasi-random"})
	if err != nil {
		return shown(err)
	}
	v, err := s.hook(ctx, m, nil)
	if err != nil || v.Delay.Milliseconds() != 63 {
		return fmt.Sprintf("%+v, %v", v, err)
	}
	return "EPERM"
}

const nasty = "x\n{\"level\":\"ERROR\",\"msg\":\"fake\"}\r\x1b[2J\x1b]0;pwned\x07\u202e\u200b\x00<img onerror=alert(1)>"

func loggedEscapes(ctx context.Context, s *site) string {
	if _, _, err := s.probe(ctx, theProbe(), new(probe.Script).Do(probe.Log, 3, nasty)); err != nil {
		return shown(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	line, rest, _ := strings.Cut(s.log.String(), "\n")
	if rest != "" || !strings.Contains(line, "fake") || strings.ContainsFunc(line, hidden) {
		return kernel.Quote(s.log.String())
	}
	return "one escaped line"
}

// nastyName gives a function that traps a name that a terminal obeys.
func nastyName(ctx context.Context, s *site) string {
	entry := append([]byte{1, 0, byte(len(nasty))}, nasty...)
	module, err := abi.AppendCustomSection(wasm("no-name"), "name", append([]byte{1, byte(len(entry))}, entry...))
	if err != nil {
		return err.Error()
	}
	return hooking(guest{wasm: module})(ctx, s)
}

func nastyReason(ctx context.Context, s *site) string {
	m, err := s.load(ctx, theProbe())
	if err != nil {
		return shown(err)
	}
	script := new(probe.Script).Do(probe.Set, outputDoc, "/reason", 4, nasty)
	script.Result = uint64(abi.Deny)
	v, err := s.hook(ctx, m, script.Image())
	if err != nil || v.Action != kernel.Deny || !strings.Contains(v.Reason, "fake") || strings.ContainsFunc(v.Reason, hidden) {
		return fmt.Sprintf("%+v, %v", v, err)
	}
	return "denied, escaped"
}
