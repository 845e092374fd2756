//go:build !wasip1

// Package hexdagtest is a host in memory, with the semantics of the ABI, in
// which guests' handlers run natively:
//
//	host := hexdagtest.New(t)
//	host.Config(`{"greeting":"hi"}`)
//	got := host.NodeBefore(greet, `{"input":{"name":"Ann"}}`)
//	if got.Verdict != "replace" || got.At("/input/name") != "hi Ann" { ... }
//
// Its tests are not to run in parallel: a guest, too, has one host.
package hexdagtest

import (
	"slices"
	"testing"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/internal/imports"
)

// Request is a call that a guest made.
type Request struct {
	Op   string
	Args string // JSON
	Body []byte
}

// At returns the argument at path: a string's characters, the JSON text of anything else.
func (r Request) At(path string) string { return at(r.Args, path) }

// Reply is what a port answers. Status other than zero is a failure, whose code
// and message take the place of Value.
type Reply struct {
	Value             string // JSON
	Body              []byte
	Status            hexdag.Status
	Code, Message     string
	RetryMilliseconds int
}

// Result is how a handler's call ended.
type Result struct {
	Verdict           string // in the words of the specification
	RetryMilliseconds uint32
	Payload           string // JSON; patched if the verdict is replace
	Output            string // JSON, or "" if absent
	Body              []byte // the raw bytes beside the output
	Log               []string
	Calls             []Request
}

// At returns the field of the payload at path: a string's characters, the JSON text of anything else.
func (r Result) At(path string) string { return at(r.Payload, path) }

// Result returns the field of the output at path.
func (r Result) Result(path string) string { return at(r.Output, path) }

// Reason returns why the guest denied or failed.
func (r Result) Reason() string { return r.Result("/reason") }

// Code returns the code with which the guest denied or failed.
func (r Result) Code() string { return r.Result("/code") }

// Host is a host for one guest. Without Now and Entropy, clock and randomness are denied.
type Host struct {
	Now     func() int64 // nanoseconds; for both clocks
	Entropy func(buf []byte)

	t      testing.TB
	config string
	ports  map[string]func(Request) Reply
	body   []byte
}

// New returns a host whose ports are all denied and whose configuration is absent.
func New(t testing.TB) *Host {
	return &Host{t: t, ports: map[string]func(Request) Reply{}}
}

// Config sets the module's configuration, as JSON.
func (h *Host) Config(text string) { h.config = text }

// OnCall grants an operation and answers its calls.
func (h *Host) OnCall(op string, answer func(Request) Reply) { h.ports[op] = answer }

// Body sets the raw bytes beside the payload.
func (h *Host) Body(data []byte) { h.body = data }

// NodeBefore runs a handler of node_before.
func (h *Host) NodeBefore(f hexdag.NodeFunc, payload string) Result {
	return h.run("/input", []string{"continue", "replace", "skip", "deny", "retry_after", "error"}, payload, f.Serve)
}

// NodeAfter runs a handler of node_after.
func (h *Host) NodeAfter(f hexdag.NodeFunc, payload string) Result {
	return h.run("/output", []string{"continue", "replace", "deny", "retry_after", "error"}, payload, f.Serve)
}

// NodeRun runs a handler of node_run.
func (h *Host) NodeRun(f hexdag.NodeFunc, payload string) Result {
	return h.run("", []string{"continue", "deny", "retry_after", "error"}, payload, f.Serve)
}

// PortBefore runs a handler of port_before.
func (h *Host) PortBefore(f hexdag.PortFunc, payload string) Result {
	return h.run("/args", []string{"continue", "replace", "skip", "deny", "retry_after", "error"}, payload, f.Serve)
}

// PortAfter runs a handler of port_after.
func (h *Host) PortAfter(f hexdag.PortFunc, payload string) Result {
	return h.run("/reply", []string{"continue", "replace", "deny", "retry_after", "error"}, payload, f.Serve)
}

// ToolCall runs a handler of tool_call.
func (h *Host) ToolCall(f hexdag.ToolFunc, payload string) Result {
	return h.run("", []string{"continue", "deny", "retry_after", "error"}, payload, f.Serve)
}

// PortCall runs a handler of port_call.
func (h *Host) PortCall(f hexdag.OperationFunc, payload string) Result {
	return h.run("", []string{"continue", "deny", "retry_after", "error"}, payload, f.Serve)
}

// Govern runs a handler of authorize, audit or permissions.
func (h *Host) Govern(f hexdag.GovernanceFunc, payload string) Result {
	return h.run("", []string{"continue", "deny", "retry_after", "error"}, payload, f.Serve)
}

// Observe runs a handler of observe: an observe.Func.
func (h *Host) Observe(f interface{ Serve() uint64 }, payload string) Result {
	return h.run("", []string{"continue", "deny", "retry_after", "error"}, payload, f.Serve)
}

func (h *Host) run(patchable string, legal []string, payload string, serve func() uint64) Result {
	h.t.Helper()
	c := &call{host: h, patchable: patchable}
	c.docs[docInput] = document{value: h.decode("payload", payload), present: true, body: h.body}
	if h.config != "" {
		c.docs[docConfig] = document{value: h.decode("config", h.config), present: true}
	}
	imports.Current = c
	defer func() { imports.Current = nil }()
	r := serve()
	return h.finish(c, legal, payload, uint32(r), uint32(r>>32))
}

func (h *Host) finish(c *call, legal []string, payload string, verdict, arg uint32) Result {
	h.t.Helper()
	names := []string{"continue", "replace", "skip", "deny", "retry_after", "error"}
	got := Result{Verdict: "unknown", Payload: payload, Log: c.log, Calls: c.calls, Body: c.docs[docOutput].body}
	if int(verdict) < len(names) {
		got.Verdict = names[verdict]
	}
	if !slices.Contains(legal, got.Verdict) {
		h.t.Errorf("the verdict %s is not legal here; legal are %v", got.Verdict, legal)
	}
	if got.Verdict == "retry_after" {
		got.RetryMilliseconds = arg
	}
	if got.Verdict == "replace" {
		got.Payload = encode(c.docs[docInput].value)
	}
	if c.docs[docOutput].present {
		got.Output = encode(c.docs[docOutput].value)
	}
	return got
}

func (h *Host) decode(what, text string) any {
	h.t.Helper()
	v, ok := decode(text)
	if !ok {
		h.t.Fatalf("%s is not JSON: %s", what, text)
	}
	return v
}
