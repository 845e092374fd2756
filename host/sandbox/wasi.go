package sandbox

import (
	"bytes"
	"encoding/binary"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// wasiModule is the import module that the standard toolchains of Go, C and Rust
// link against. The host offers it as a stub: there are no files, arguments,
// variables or sockets; output becomes log lines; sleeping moves a clock that
// only this call sees, unless clock.read is granted; randomness is an error,
// unless random.read is.
const wasiModule = "wasi_snapshot_preview1"

// Error numbers of WASI preview 1.
const (
	errnoSuccess = 0
	errnoBadf    = 8
	errnoFault   = 21
	errnoInval   = 28
	errnoNosys   = 52
	errnoPerm    = 63
)

// epoch is the wall time, in nanoseconds since 1970, that a guest without the
// capability clock.read sees at the start of each call: 2026-01-01.
const epoch = 1767225600_000000000

type wasiHandler func(a *activation, mem memory, stack []uint64) uint32

func wasi(name, params string, h wasiHandler) hostFunction {
	f := hostFunction{name: name, results: []rewrite.ValType{i32}}
	for _, c := range params {
		if c == 'l' {
			f.params = append(f.params, i64)
		} else {
			f.params = append(f.params, i32)
		}
	}
	f.run = func(a *activation, mem memory, stack []uint64) {
		stack[0] = uint64(h(a, mem, stack))
	}
	return f
}

// answering makes a handler that does nothing but answer an error number.
func answering(errno uint32) wasiHandler {
	return func(*activation, memory, []uint64) uint32 { return errno }
}

// wasiFunctions lists all of preview 1: a letter for each parameter, i (i32) or l (i64).
func wasiFunctions() []hostFunction {
	bad, none := answering(errnoBadf), answering(errnoNosys)
	functions := []hostFunction{
		wasi("args_get", "ii", answering(errnoSuccess)),
		wasi("args_sizes_get", "ii", (*activation).zeroSizes),
		wasi("environ_get", "ii", answering(errnoSuccess)),
		wasi("environ_sizes_get", "ii", (*activation).zeroSizes),
		wasi("clock_res_get", "ii", (*activation).clockResolution),
		wasi("clock_time_get", "ili", (*activation).clockTime),
		wasi("random_get", "ii", (*activation).randomGet),
		wasi("sched_yield", "", answering(errnoSuccess)),
		wasi("poll_oneoff", "iiii", (*activation).poll),
		wasi("fd_read", "iiii", (*activation).fdRead),
		wasi("fd_write", "iiii", (*activation).fdWrite),
		wasi("fd_fdstat_get", "ii", (*activation).fdStat),
		wasi("fd_close", "i", bad), wasi("fd_seek", "ilii", bad), wasi("fd_tell", "ii", bad),
		wasi("fd_advise", "illi", bad), wasi("fd_allocate", "ill", bad), wasi("fd_datasync", "i", bad), wasi("fd_sync", "i", bad),
		wasi("fd_fdstat_set_flags", "ii", bad), wasi("fd_fdstat_set_rights", "ill", bad), wasi("fd_filestat_get", "ii", bad),
		wasi("fd_filestat_set_size", "il", bad), wasi("fd_filestat_set_times", "illi", bad), wasi("fd_pread", "iiili", bad),
		wasi("fd_pwrite", "iiili", bad), wasi("fd_prestat_get", "ii", bad), wasi("fd_prestat_dir_name", "iii", bad),
		wasi("fd_readdir", "iiili", bad), wasi("fd_renumber", "ii", bad),
		wasi("path_create_directory", "iii", bad), wasi("path_filestat_get", "iiiii", bad), wasi("path_filestat_set_times", "iiiilli", bad),
		wasi("path_link", "iiiiiii", bad), wasi("path_open", "iiiiillii", bad), wasi("path_readlink", "iiiiii", bad),
		wasi("path_remove_directory", "iii", bad), wasi("path_rename", "iiiiii", bad), wasi("path_symlink", "iiiii", bad), wasi("path_unlink_file", "iii", bad),
		wasi("sock_accept", "iii", bad), wasi("sock_recv", "iiiiii", bad), wasi("sock_send", "iiiii", bad), wasi("sock_shutdown", "ii", bad),
		wasi("proc_raise", "i", none),
	}
	return append(functions, hostFunction{name: "proc_exit", params: []rewrite.ValType{i32}, run: (*activation).procExit})
}

func writeU32(mem memory, ptr uint64, v uint32) uint32 {
	if !mem.putU32(uint32(ptr), v) {
		return errnoFault
	}
	return errnoSuccess
}

func writeU64(mem memory, ptr uint64, v uint64) uint32 {
	if !mem.putU64(uint32(ptr), v) {
		return errnoFault
	}
	return errnoSuccess
}

func (a *activation) zeroSizes(mem memory, stack []uint64) uint32 {
	return writeU32(mem, stack[0], 0) | writeU32(mem, stack[1], 0)
}

func (a *activation) clockResolution(mem memory, stack []uint64) uint32 {
	return writeU64(mem, stack[1], 1000)
}

// now reads a clock as WASI numbers them: 0 is wall time, the others count from
// the start of the run or the call.
func (a *activation) now(id uint32) int64 {
	clock := abi.ClockRun
	if id == 0 {
		clock = abi.ClockWall
	}
	if a.started && a.call.Host != nil {
		if ns, err := a.call.Host.Clock(a.hostContext(), clock); err == nil {
			return ns + a.virtual
		}
	}
	if clock == abi.ClockWall {
		return epoch + a.virtual
	}
	return a.virtual
}

func (a *activation) clockTime(mem memory, stack []uint64) uint32 {
	a.virtual += 1000 // so that a guest that waits in a loop gets on
	return writeU64(mem, stack[2], uint64(a.now(uint32(stack[0]))))
}

// randomGet answers the same bytes whenever an instance starts, so that equal
// modules start equal: they seed the tables of language runtimes. Once a call
// has begun it is the capability random.read or an error, never something that
// only looks random.
func (a *activation) randomGet(mem memory, stack []uint64) uint32 {
	if uint32(stack[1]) > maxRandom {
		return errnoInval
	}
	p, ok := view(mem, stack[0], stack[1])
	if !ok {
		return errnoFault
	}
	if !a.started {
		for i := range p {
			p[i] = a.module.digest[len("sha256:")+i%64]
		}
		return errnoSuccess
	}
	if a.call.Host == nil || a.call.Host.Random(a.hostContext(), p) != nil {
		return errnoPerm
	}
	return errnoSuccess
}

// fdStat describes standard input and output as character devices.
func (a *activation) fdStat(mem memory, stack []uint64) uint32 {
	if uint32(stack[0]) > 2 {
		return errnoBadf
	}
	var stat [24]byte
	stat[0] = 2 // character device
	if !mem.write(uint32(stack[1]), stat[:]) {
		return errnoFault
	}
	return errnoSuccess
}

// maxPrint is how many bytes one call of fd_write takes; the rest is for the
// next call, so that none keeps the host busy for long.
const maxPrint = 64 << 10

// maxVectors is how many buffers one call of fd_read or fd_write takes.
const maxVectors = 1024

// fdWrite turns what goes to stdout and stderr into log lines; see write.
func (a *activation) fdWrite(mem memory, stack []uint64) uint32 {
	fd, vectors, count := uint32(stack[0]), uint64(uint32(stack[1])), uint32(stack[2])
	if fd != 1 && fd != 2 {
		return errnoBadf
	}
	if count > maxVectors {
		return errnoInval
	}
	if vectors+uint64(count)*8 > uint64(len(mem)) {
		return errnoFault
	}
	var total uint32
	for i := range count {
		vector, _ := view(mem, vectors+uint64(i)*8, 8)
		text, ok := mem.read(binary.LittleEndian.Uint32(vector), binary.LittleEndian.Uint32(vector[4:]))
		if !ok {
			return errnoFault
		}
		text = text[:min(len(text), maxPrint-int(total))]
		a.write(fd, text)
		if total += uint32(len(text)); total == maxPrint {
			break
		}
	}
	return writeU32(mem, stack[3], total)
}

// print collects output into lines of at most Limits.LogLine bytes.
func (a *activation) print(stream int, text []byte) {
	a.out(len(text))
	for len(text) > 0 && a.usage.LogLines <= a.limits.LogLines {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		room := a.limits.LogLine - len(a.lines[stream])
		a.lines[stream] = append(a.lines[stream], line[:min(len(line), room)]...)
		if ended {
			a.flush(stream)
		}
		text = rest
	}
}

func (a *activation) flush(stream int) {
	level := abi.LevelInfo
	if stream == 1 {
		level = abi.LevelError
	}
	a.logLine(level, a.lines[stream])
	a.lines[stream] = a.lines[stream][:0]
}

// flushLines logs what a guest wrote without a line's end.
func (a *activation) flushLines() {
	for stream := range a.lines {
		if len(a.lines[stream]) > 0 {
			a.flush(stream)
		}
	}
}

// Layout of poll_oneoff's subscriptions and events.
const (
	subscriptionSize = 48
	eventSize        = 32
	maxSubscriptions = 64
)

// poll never sleeps: where a guest waits for a clock, the clock that it sees
// moves to that time; where it waits for a file, there is none.
func (a *activation) poll(mem memory, stack []uint64) uint32 {
	count := uint32(stack[2])
	if count == 0 || count > maxSubscriptions {
		return errnoInval
	}
	subscriptions, ok := view(mem, stack[0], uint64(count)*subscriptionSize)
	if !ok {
		return errnoFault
	}
	events := make([]byte, count*eventSize)
	for i := range int(count) {
		sub, event := subscriptions[i*subscriptionSize:], events[i*eventSize:]
		copy(event[:8], sub[:8]) // the guest's own mark
		event[10] = sub[8]
		if sub[8] != 0 { // not a clock
			binary.LittleEndian.PutUint16(event[8:], errnoBadf)
			continue
		}
		a.sleep(binary.LittleEndian.Uint64(sub[24:]), binary.LittleEndian.Uint16(sub[40:])&1 != 0)
	}
	if !mem.write(uint32(stack[1]), events) {
		return errnoFault
	}
	return writeU32(mem, stack[3], count)
}

func (a *activation) sleep(timeout uint64, absolute bool) {
	const longest = 1 << 60
	step := int64(min(timeout, longest))
	if absolute {
		if step >= epoch {
			step -= epoch
		}
		step -= a.virtual
	}
	a.virtual = min(a.virtual+max(step, 0), longest)
}
