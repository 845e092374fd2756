package sandbox_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/redteam/probe"
	"github.com/hexdag/hexdag/host/sandbox"
)

// FuzzImports forwards the fuzzer's bytes as the arguments of every import. No
// panic of the host, no error of its own, and an end in time.
//
// A script is, for each call, one byte that selects the function, then nine
// arguments of one byte that says how to read it and up to eight that it takes.
func FuzzImports(f *testing.F) {
	for fn := range byte(10 + len(probe.WASI)) {
		f.Add([]byte{fn})
		f.Add([]byte{fn, 1, 1, 1, 1, 1, 1, 1, 1, 1})
		f.Add([]byte{fn, 0, 4, 2, 0, 4, 2, 0, 4, 2})
	}
	f.Add([]byte("\x03\x00\x04\x06\x02\x00\x04\x00\x03\x10\x03\x01\x00\x00\x00\x06\x00\x04\x00\x03\x10"))
	f.Add([]byte("/a/b/~0{\"a\":[1,2,3]}"))
	m := loadProbe(f, sandbox.Limits{Deadline: 5 * time.Second, Document: 64 << 10, Body: 1 << 20})
	f.Fuzz(func(t *testing.T, script []byte) {
		s := decodeScript(script)
		start := time.Now()
		_, err := m.Call(context.Background(), sandbox.Call{Point: abi.PortBefore, Input: input(), Config: input(), Body: s.Image(), Host: generous()})
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("took %s", took)
		}
		var e *kernel.Error
		if err != nil && (!errors.As(err, &e) || e.Code == kernel.CodeInternal) {
			t.Errorf("%v", err)
		}
	})
}

// generous is a host that grants everything.
func generous() sandbox.Host {
	return &fakeHost{
		call: func(_ context.Context, _ string, args map[string]any, body []byte) (*kernel.PortReply, error) {
			return &kernel.PortReply{Value: args, Body: body}, nil
		},
		clock:  func(abi.ClockID) (int64, error) { return 1, nil },
		random: func(p []byte) error { clear(p); return nil },
	}
}

// decodeScript reads a script; the bytes themselves lie where its addresses point.
func decodeScript(raw []byte) *probe.Script {
	s := &probe.Script{}
	data := s.Text(string(raw[:min(len(raw), 1<<16)]))
	for calls := 0; len(raw) > 0 && calls < 20; calls++ {
		fn := probe.Func(raw[0]) % probe.Func(10+len(probe.WASI))
		if fn >= 10 {
			fn += 90
		}
		raw = raw[1:]
		args := make([]any, 9)
		for i := range args {
			var v uint64
			v, raw = decodeArgument(raw, uint64(data))
			args[i] = v
		}
		s.Do(fn, args...)
	}
	return s
}

// decodeArgument reads one argument: small, at an edge, in the data, or any.
func decodeArgument(raw []byte, data uint64) (uint64, []byte) {
	if len(raw) == 0 {
		return 0, nil
	}
	how := raw[0]
	raw = raw[1:]
	edges := [...]uint64{0, 1, memory - 1, memory, memory + 1, 1<<31 - 1, 1 << 31, maxU32, 1 << 32, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	switch how % 4 {
	case 0:
		return uint64(how) / 4 % 8, raw
	case 1:
		return edges[int(how)/4%len(edges)], raw
	case 2:
		return data + uint64(how)/4, raw
	}
	var word [8]byte
	n := copy(word[:], raw)
	return binary.LittleEndian.Uint64(word[:]), raw[n:]
}
