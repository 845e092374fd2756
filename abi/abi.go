// Package abi is the contract between the host and its guests: the names, the
// numbers and the message types of version 1. README.md is its specification.
// It imports nothing of the host, so that any host or tool can use it.
package abi

import "strings"

// ImportModule is the WebAssembly module name that every import of version 1
// comes from. Another version is another module name, so that a host can serve
// several side by side.
const ImportModule = "hexdag_v1"

// ManifestSection is the custom section that holds a module's Manifest as JSON.
const ManifestSection = "hexdag.manifest"

// Names of the functions that a guest may import from ImportModule.
const (
	ImportInput   = "input"  // (ptr i32, cap i32) -> i32
	ImportField   = "field"  // (doc i32, path i32, path_len i32, buf i32, cap i32) -> i64
	ImportKeys    = "keys"   // (doc i32, path i32, path_len i32, buf i32, cap i32) -> i64
	ImportSet     = "set"    // (doc i32, path i32, path_len i32, kind i32, val i32, val_len i32) -> i32
	ImportBody    = "body"   // (doc i32, offset i64, buf i32, cap i32) -> i64
	ImportAppend  = "append" // (doc i32, ptr i32, len i32) -> i32
	ImportCall    = "call"   // (op i32, op_len i32, head i32, head_len i32, body i32, body_len i32) -> i32
	ImportLog     = "log"    // (level i32, ptr i32, len i32) -> i32
	ImportClock   = "clock"  // (id i32) -> i64
	ImportRandom  = "random" // (ptr i32, len i32) -> i32
	ExportMemory  = "memory"
	ExportInit    = "_initialize"
	ExportCommand = "_start"
)

// Point is an extension point: an export of the signature (len i32) -> i64.
type Point string

// The extension points of version 1.
const (
	NodeBefore  Point = "node_before"
	NodeAfter   Point = "node_after"
	PortBefore  Point = "port_before"
	PortAfter   Point = "port_after"
	NodeRun     Point = "node_run"
	ToolCall    Point = "tool_call"
	Authorize   Point = "authorize"
	Audit       Point = "audit"
	Permissions Point = "permissions"
	Observe     Point = "observe"
	PortCall    Point = "port_call"
)

// Points lists every extension point, in the order of the specification.
func Points() []Point {
	return []Point{NodeBefore, NodeAfter, PortBefore, PortAfter, NodeRun, ToolCall, Authorize, Audit, Permissions, Observe, PortCall}
}

// Patchable tells which member of the input a guest may change at this point
// with set, as the JSON pointer of its root; "" means none.
func (p Point) Patchable() string {
	switch p {
	case NodeBefore:
		return "/input"
	case NodeAfter:
		return "/output"
	case PortBefore:
		return "/args"
	case PortAfter:
		return "/reply"
	}
	return ""
}

// Doc selects the document that an import reads or writes.
type Doc uint32

// The documents of one call.
const (
	DocInput   Doc = 0 // the payload; hooks may patch the part that Patchable names
	DocConfig  Doc = 1 // what the operator configured for this module; read only
	DocRequest Doc = 2 // the head of the next call; write
	DocReply   Doc = 3 // the reply of the last call, or its error; read only
	DocOutput  Doc = 4 // the result of this call; write
)

// Kind is the JSON type of a value.
type Kind uint32

// The kinds that field reports and set takes. KindJSON is for set alone: any
// JSON text. KindAbsent means no such member; set with it removes the member.
const (
	KindAbsent Kind = 0
	KindNull   Kind = 1
	KindBool   Kind = 2
	KindNumber Kind = 3
	KindString Kind = 4
	KindArray  Kind = 5
	KindObject Kind = 6
	KindJSON   Kind = 7
)

// Status is the outcome of an import: zero or a negative number. It is data;
// no import traps for a reason that a guest can handle.
type Status int32

// The statuses of version 1.
const (
	OK          Status = 0
	NotFound    Status = -1  // no such document, member target, tool, row or artifact
	Denied      Status = -2  // not requested, not granted, or refused by policy or hook
	Invalid     Status = -3  // malformed pointer, JSON, UTF-8, number or arguments
	Limit       Status = -4  // a limit or a budget is used up
	Fault       Status = -5  // an address or a length outside the guest's memory
	Unsupported Status = -6  // unknown operation, document or kind
	Unavailable Status = -7  // the port is not configured, or its engine is down
	Timeout     Status = -8  // the deadline passed
	Failed      Status = -9  // the port failed; the reply document says how
	Retry       Status = -10 // try again later; the reply document says when
)

// String returns the status in the words of the specification.
func (s Status) String() string {
	names := [...]string{"ok", "not_found", "denied", "invalid", "limit", "fault", "unsupported", "unavailable", "timeout", "failed", "retry"}
	if s > 0 || int(-s) >= len(names) {
		return "unknown"
	}
	return names[-s]
}

// Verdict is what a guest decides, in the low 32 bits of an export's result.
type Verdict uint32

// The verdicts of version 1.
const (
	Continue   Verdict = 0 // go on unchanged; for node_run and tool_call: done, the output document is the result
	Replace    Verdict = 1 // go on with the patched input (hooks)
	Skip       Verdict = 2 // do not run what is hooked: the output document is its result (before-hooks)
	Deny       Verdict = 3 // refuse: /reason and /code of the output document say why
	RetryAfter Verdict = 4 // try again after the milliseconds in the high 32 bits
	Error      Verdict = 5 // failed: /reason and /code of the output document say why
)

// String returns the verdict in the words of the specification.
func (v Verdict) String() string {
	names := [...]string{"continue", "replace", "skip", "deny", "retry_after", "error"}
	if int(v) >= len(names) {
		return "unknown"
	}
	return names[v]
}

// Pack joins a verdict and its argument into an export's result.
func Pack(v Verdict, arg uint32) uint64 { return uint64(arg)<<32 | uint64(v) }

// Unpack splits an export's result.
func Unpack(r uint64) (Verdict, uint32) { return Verdict(uint32(r)), uint32(r >> 32) }

// Level is the severity of a log line.
type Level uint32

// The log levels; a guest's higher number counts as LevelError.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

// ClockID selects a clock.
type ClockID uint32

// The clocks. Both need the capability clock.read and answer nanoseconds: since
// 1970 and since the run's start.
const (
	ClockWall ClockID = 0
	ClockRun  ClockID = 1
)

// The operations that are imports of their own, so that they need no encoding.
const (
	OpClock  = "clock.read"
	OpRandom = "random.read"
)

// EscapePointer escapes one reference token of a JSON pointer (RFC 6901).
func EscapePointer(token string) string {
	return pointerEscaper.Replace(token)
}

// UnescapePointer is the inverse of EscapePointer.
func UnescapePointer(token string) string {
	return pointerUnescaper.Replace(token)
}

var (
	pointerEscaper   = strings.NewReplacer("~", "~0", "/", "~1")
	pointerUnescaper = strings.NewReplacer("~1", "/", "~0", "~")
)
