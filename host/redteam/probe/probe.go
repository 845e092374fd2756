// Package probe drives one guest that makes any sequence of calls of any import,
// so that a test of the boundary is a few lines of Go and no module of its own.
// Its source is guests/hostile/probe.wat.
package probe

import (
	_ "embed"
	"encoding/binary"
	"fmt"
)

// Wasm is the module. It serves every extension point that hosts call.
//
//go:embed probe.wasm
var Wasm []byte

// Func is something that the probe can do.
type Func int64

// The imports of hexdag_v1.
const (
	Input Func = iota
	Field
	Keys
	Set
	Body
	Append
	Call
	Log
	Clock
	Random
)

// What a guest can do to itself.
const (
	ProcExit  Func = 199 + iota // code
	Grow                        // pages -> pages before, or -1
	Size                        // -> pages
	Store                       // address, byte
	Load                        // address -> byte
	SetGlobal                   // value
	GetGlobal                   // -> value, at first 1
	_
	CallTable // slot -> answer: slots 0 and 1 answer 1 and 2
	_
	InitMemory // address
	Fill       // address, byte, length
	Recurse    // depth -> depth
	Spin       // for ever
	Trap       //
	Length     // -> what the host said of the input's length
)

const firstWASI Func = 100

// WASI names the imports of WASI in the probe's order: "path_open iiiiillii", a
// letter for each parameter, i (i32) or l (i64).
var WASI = []string{
	"args_get ii", "args_sizes_get ii", "environ_get ii", "environ_sizes_get ii", "clock_res_get ii", "clock_time_get ili",
	"random_get ii", "sched_yield ", "poll_oneoff iiii", "fd_write iiii", "fd_fdstat_get ii", "fd_close i", "fd_read iiii",
	"fd_seek ilii", "fd_tell ii", "fd_advise illi", "fd_allocate ill", "fd_datasync i", "fd_sync i", "fd_fdstat_set_flags ii",
	"fd_fdstat_set_rights ill", "fd_filestat_get ii", "fd_filestat_set_size il", "fd_filestat_set_times illi", "fd_pread iiili",
	"fd_pwrite iiili", "fd_prestat_get ii", "fd_prestat_dir_name iii", "fd_readdir iiili", "fd_renumber ii",
	"path_create_directory iii", "path_filestat_get iiiii", "path_filestat_set_times iiiiilli", "path_link iiiiiii",
	"path_open iiiiillii", "path_readlink iiiiii", "path_remove_directory iii", "path_rename iiiiii", "path_symlink iiiii",
	"path_unlink_file iii", "sock_accept iii", "sock_recv iiiiii", "sock_send iiiii", "sock_shutdown ii", "proc_raise i",
}

// WASIFunc returns the import of WASI with that name.
func WASIFunc(name string) Func {
	for i, f := range WASI {
		if len(f) > len(name) && f[:len(name)] == name && f[len(name)] == ' ' {
			return firstWASI + Func(i)
		}
	}
	panic("no function of WASI is called " + name)
}

// Layout of the probe's memory. Arguments are put from DataAt on; what is
// between the end of the script's data and MemorySize is free, and zero.
const (
	MemorySize = 4 << 16
	DataAt     = 1 << 15
	header     = 16
	recordSize = 96
	resultAt   = 88
	repeatAt   = 80
	maxRecords = (DataAt - header) / recordSize
)

// Script is a sequence of calls. The zero value is an empty one that continues.
type Script struct {
	Result  uint64 // what the extension point returns: verdict and argument
	records [][12]int64
	data    []byte
}

// Text puts bytes into the probe's memory and returns their address.
func (s *Script) Text(text string) int64 {
	at := int64(DataAt + len(s.data))
	s.data = append(s.data, text...)
	return at
}

// Do adds a call. An integer is an argument; a string is
// put into memory and becomes two, its address and its length.
func (s *Script) Do(f Func, args ...any) *Script { return s.Repeat(1, f, args...) }

// Repeat adds a call that is made several times; its result is that of the last.
func (s *Script) Repeat(times int, f Func, args ...any) *Script {
	var record [12]int64
	record[0], record[repeatAt/8] = int64(f), int64(times)
	n := 1
	put := func(v int64) { record[n] = v; n++ }
	for _, arg := range args {
		switch arg := arg.(type) {
		case int:
			put(int64(arg))
		case int32:
			put(int64(arg))
		case int64:
			put(arg)
		case uint32:
			put(int64(arg))
		case uint64:
			put(int64(arg))
		case string:
			put(s.Text(arg))
			put(int64(len(arg)))
		default:
			panic(fmt.Sprintf("the probe takes no %T", arg))
		}
	}
	s.records = append(s.records, record)
	return s
}

// Image returns the script as the body that is to stand beside the probe's input.
func (s *Script) Image() []byte {
	if len(s.records) > maxRecords || DataAt+len(s.data) > MemorySize {
		panic("the script does not fit into the probe's memory")
	}
	image := make([]byte, DataAt, DataAt+len(s.data))
	binary.LittleEndian.PutUint32(image, uint32(len(s.records)))
	binary.LittleEndian.PutUint64(image[8:], s.Result)
	for i, record := range s.records {
		for j, word := range record {
			binary.LittleEndian.PutUint64(image[header+i*recordSize+j*8:], uint64(word))
		}
	}
	return append(image, s.data...)
}

// Results returns what the calls answered, from the body beside the output, and
// what the script itself had appended to it before.
func (s *Script) Results(body []byte) (results []int64, before []byte, err error) {
	tail := header + len(s.records)*recordSize
	if len(body) < tail {
		return nil, body, fmt.Errorf("the probe answered %d bytes, not %d", len(body), tail)
	}
	before, body = body[:len(body)-tail], body[len(body)-tail:]
	for i := range s.records {
		results = append(results, int64(binary.LittleEndian.Uint64(body[header+i*recordSize+resultAt:])))
	}
	return results, before, nil
}
