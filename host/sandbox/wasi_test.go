package sandbox_test

import (
	"context"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// Error numbers of WASI.
const (
	badf  = 8
	fault = 21
	inval = 28
	nosys = 52
	perm  = 63
)

// Everything of WASI that reaches for a file, a folder or a socket answers that
// there is none, whatever it is given.
func TestWASIHasNoFiles(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	s := &probe.Script{}
	var names []string
	for _, signature := range probe.WASI {
		name, params, _ := strings.Cut(signature, " ")
		if !strings.HasPrefix(name, "path_") && !strings.HasPrefix(name, "sock_") && !strings.HasPrefix(name, "fd_") {
			continue
		}
		for _, fd := range []int{3, 4, 1000, maxU32} {
			args := make([]any, len(params))
			for i := range args {
				args[i] = free
			}
			args[0] = fd
			s.Do(probe.WASIFunc(name), args...)
			names = append(names, name)
		}
	}
	results, _ := play(t, m, s, nil)
	for i, got := range results {
		if got != badf {
			t.Errorf("%s answers %d, want EBADF", names[i], got)
		}
	}
	if len(names) != 4*35 {
		t.Errorf("%d calls were made", len(names))
	}
}

func TestWASIPathsOpenNothing(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	for _, path := range []string{"../", "/etc/passwd", "./a/../../b", "/proc/self/environ", "CON", ""} {
		s := new(probe.Script).Do(probe.WASIFunc("path_open"), 3, 0, path, 9 /* create, truncate */, 0, 0, 0, free)
		if results, _ := play(t, m, s, nil); results[0] != badf {
			t.Errorf("path_open(%q) answers %d", path, results[0])
		}
	}
}

func TestWASIRanges(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	vectors := func(at, n uint32) string {
		return string(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, at), n))
	}
	write := probe.WASIFunc("fd_write")
	s := &probe.Script{}
	outside, overflowing := s.Text(vectors(memory-1, 2)), s.Text(vectors(maxU32, maxU32))
	for _, c := range []struct {
		want int64
		f    probe.Func
		args []any
	}{
		{fault, probe.WASIFunc("args_sizes_get"), []any{memory, free}},
		{fault, probe.WASIFunc("environ_sizes_get"), []any{free, memory - 3}},
		{fault, probe.WASIFunc("clock_time_get"), []any{0, 0, memory - 7}},
		{fault, probe.WASIFunc("clock_res_get"), []any{0, maxU32}},
		{fault, probe.WASIFunc("random_get"), []any{memory - 1, 2}},
		{inval, probe.WASIFunc("random_get"), []any{0, maxU32}},
		{fault, probe.WASIFunc("fd_fdstat_get"), []any{1, memory - 23}},
		{fault, write, []any{1, memory - 7, 1, free}},
		{fault, write, []any{1, maxU32 - 7, 2, free}},
		{fault, write, []any{1, outside, 1, free}},
		{fault, write, []any{1, overflowing, 1, free}},
		{fault, write, []any{1, free, 1, memory - 3}},
		{inval, write, []any{1, free, maxU32, free}},
		{badf, write, []any{0, free, 1, free}},
		{badf, write, []any{3, free, 1, free}},
		{fault, probe.WASIFunc("poll_oneoff"), []any{memory - 47, free, 1, free}},
		{fault, probe.WASIFunc("poll_oneoff"), []any{free, memory - 31, 1, free}},
		{fault, probe.WASIFunc("poll_oneoff"), []any{free, free, 1, memory - 3}},
		{inval, probe.WASIFunc("poll_oneoff"), []any{free, free, maxU32, free}},
		{inval, probe.WASIFunc("poll_oneoff"), []any{free, free, 0, free}},
		{nosys, probe.WASIFunc("proc_raise"), []any{9}},
	} {
		one := *s
		if results, _ := play(t, m, one.Do(c.f, c.args...), nil); results[0] != c.want {
			t.Errorf("function %d%v answers %d, want %d", c.f, c.args, results[0], c.want)
		}
	}
}

// Output becomes lines of the log, under the log's limits.
func TestWASIOutput(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{LogLine: 8, LogLines: 3})
	h := &fakeHost{}
	s := &probe.Script{}
	text := "one\nthe second line is long\nthree\nfour\nfive"
	vector := binary.LittleEndian.AppendUint32(nil, uint32(s.Text(text)))
	s.Do(probe.WASIFunc("fd_write"), 1, s.Text(string(binary.LittleEndian.AppendUint32(vector, uint32(len(text))))), 1, free)
	results, _ := play(t, m, s, h)
	if want := []string{"one", "the seco", "three"}; results[0] != 0 || !slices.Equal(h.lines, want) {
		t.Errorf("answered %d, lines %q, want %q", results[0], h.lines, want)
	}
}

// Without a grant the clock stands at a fixed time and randomness is an error,
// natively and in WASI; with it both are real.
func TestClockAndRandomNeedAGrant(t *testing.T) {
	m := loadProbe(t, sandbox.Limits{})
	s := new(probe.Script).Do(probe.Clock, 0).Do(probe.Clock, 1).Do(probe.Random, free, 8).
		Do(probe.WASIFunc("random_get"), free, 8).Do(probe.Load, free).
		Do(probe.WASIFunc("clock_time_get"), 0, 1, free).Do(probe.Append, output, free, 8)
	denied := []int64{int64(abi.Denied), int64(abi.Denied), int64(abi.Denied), perm, 0, 0, 0}
	var times []uint64
	for _, h := range []sandbox.Host{nil, &fakeHost{}} {
		out, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Body: s.Image(), Host: h})
		if err != nil {
			t.Fatal(err)
		}
		results, before, err := s.Results(out.Body)
		if err != nil || !slices.Equal(results, denied) {
			t.Errorf("without a grant: got %d, want %d (%v)", results, denied, err)
		}
		times = append(times, binary.LittleEndian.Uint64(before))
	}
	if times[0] != times[1] {
		t.Errorf("the clock without a grant moved from %d to %d", times[0], times[1])
	}
	h := &fakeHost{clock: func(id abi.ClockID) (int64, error) { return 41 + int64(id), nil }, random: func(p []byte) error {
		for i := range p {
			p[i] = 9
		}
		return nil
	}}
	results, _ := play(t, m, s, h)
	if want := []int64{41, 42, 0, 0, 9, 0, 0}; !slices.Equal(results, want) {
		t.Errorf("with a grant: got %d, want %d", results, want)
	}
}

// A guest that sleeps gets on at once: its clock moves, the host's does not.
func TestSleepTakesNoTime(t *testing.T) {
	m := load(t, newRuntime(t), hostile(t, "sleep"), sandbox.Limits{})
	_, took, err := call(t, m, sandbox.Call{})
	if err != nil || took > overshoot {
		t.Errorf("took %s, %v", took, err)
	}
}
