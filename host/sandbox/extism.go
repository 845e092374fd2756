package sandbox

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox/rewrite"
)

// What plugins import. The functions are those that PDKs declare, written anew
// against the module's own limits: github.com/extism/go-sdk runs a second module
// for them, in a runtime of its own, without fuel and without a cap.
const (
	extismModule     = "extism:host/env"
	extismUserModule = "extism:host/user"
)

// extism declares a function: a letter for each type, i (i32) or l (i64).
func extism(name, params, results string, h func(p *plugin, a *activation, stack []uint64)) hostFunction {
	f := hostFunction{name: name}
	types := func(letters string) (list []rewrite.ValType) {
		for _, c := range letters {
			list = append(list, map[rune]rewrite.ValType{'i': i32, 'l': i64}[c])
		}
		return list
	}
	f.params, f.results = types(params), types(results)
	f.run = func(a *activation, _ memory, stack []uint64) { h(a.instance.extism(), a, stack) }
	return f
}

func extismFunctions() []hostFunction {
	return []hostFunction{
		extism("alloc", "l", "l", (*plugin).allocate),
		extism("free", "l", "", func(p *plugin, _ *activation, stack []uint64) { p.free(stack[0]) }),
		extism("length", "l", "l", (*plugin).lengthOf),
		extism("length_unsafe", "l", "l", (*plugin).lengthOf),
		extism("load_u8", "l", "i", func(p *plugin, a *activation, stack []uint64) { p.load(a, stack, stack[0], 1) }),
		extism("load_u64", "l", "l", func(p *plugin, a *activation, stack []uint64) { p.load(a, stack, stack[0], 8) }),
		extism("store_u8", "li", "", func(p *plugin, a *activation, stack []uint64) { p.at(a, stack[0], 1)[0] = byte(stack[1]) }),
		extism("store_u64", "ll", "", func(p *plugin, a *activation, stack []uint64) {
			binary.LittleEndian.PutUint64(p.at(a, stack[0], 8), stack[1])
		}),
		extism("input_offset", "", "l", func(p *plugin, _ *activation, stack []uint64) { stack[0] = p.input }),
		extism("input_length", "", "l", func(p *plugin, _ *activation, stack []uint64) { stack[0] = p.blocks[p.input] }),
		extism("input_load_u8", "l", "i", func(p *plugin, a *activation, stack []uint64) { p.loadInput(a, stack, 1) }),
		extism("input_load_u64", "l", "l", func(p *plugin, a *activation, stack []uint64) { p.loadInput(a, stack, 8) }),
		extism("output_set", "ll", "", (*plugin).setOutput),
		extism("error_set", "l", "", (*plugin).setError),
		extism("config_get", "l", "l", (*plugin).configGet),
		extism("var_get", "l", "l", (*plugin).varGet),
		extism("var_set", "ll", "", (*plugin).varSet),
		extism("http_request", "ll", "l", (*plugin).httpRequest),
		extism("http_status_code", "", "i", func(p *plugin, _ *activation, stack []uint64) { stack[0] = p.httpStatus }),
		extism("http_headers", "", "l", func(_ *plugin, _ *activation, stack []uint64) { stack[0] = 0 }),
		extism("log_trace", "l", "", logAt(abi.LevelDebug)),
		extism("log_debug", "l", "", logAt(abi.LevelDebug)),
		extism("log_info", "l", "", logAt(abi.LevelInfo)),
		extism("log_warn", "l", "", logAt(abi.LevelWarn)),
		extism("log_error", "l", "", logAt(abi.LevelError)),
		extism("get_log_level", "", "i", func(_ *plugin, _ *activation, stack []uint64) { stack[0] = 0 }), // trace: the operator's log sorts
	}
}

// extismUserFunctions are those that no PDK has: the one door.
func extismUserFunctions() []hostFunction {
	return []hostFunction{extism("hexdag_call", "ll", "l", (*plugin).hostCall)}
}

// extism returns what the instance keeps outside of its own memory.
func (i *instance) extism() *plugin {
	if i.plugin == nil {
		i.plugin = newPlugin()
	}
	return i.plugin
}

// runExtism is one call of a plugin's function with the message.
func (i *instance) runExtism(message []byte, out *Outcome) error {
	a, p := &i.state, i.extism()
	lasting := a.call.Isolation == Shared || a.call.Isolation == IsolateRun && a.call.Run != ""
	p.reset(i, lasting)
	defer p.reset(i, lasting)
	var err error
	if p.input, err = p.put(a, message); err != nil {
		return err
	}
	i.stack[0] = 0 // what a function without results returns
	if err := i.entry(a.call.Point).CallWithStack(&a.context, i.stack[:]); err != nil {
		return a.ending(err)
	}
	a.flushLines()
	if err := a.settle(); err != nil {
		return err
	}
	code := int32(i.stack[0])
	switch {
	case p.failed:
		a.failed(out, p.failure)
	case code != 0:
		a.failed(out, fmt.Sprintf("the plugin returned %d", code))
	default:
		return a.interpret(p.output, out)
	}
	return nil
}

func (p *plugin) setOutput(a *activation, stack []uint64) {
	if stack[1] > uint64(a.limits.Document) {
		a.stopWith(a.tooLarge("the plugin's output", int(min(stack[1], 1<<62))))
	}
	if p.output = nil; stack[1] > 0 {
		p.output = append(p.output, p.at(a, stack[0], stack[1])...)
	}
	a.out(len(p.output))
}

// setError notes why the plugin has failed; handle 0 takes it back.
func (p *plugin) setError(a *activation, stack []uint64) {
	text := p.text(stack[0])
	text = text[:min(len(text), a.limits.LogLine)]
	p.failed, p.failure = stack[0] != 0, string(text)
	a.out(len(text))
}

func logAt(level abi.Level) func(p *plugin, a *activation, stack []uint64) {
	return func(p *plugin, a *activation, stack []uint64) {
		text := p.text(stack[0])
		a.logLine(level, text[:min(len(text), a.limits.LogLine)])
		p.free(stack[0]) // PDKs leave that to the host
	}
}

// needCall stops a plugin that wants in _initialize what only a call has: many
// calls start from the memory that _initialize leaves.
func (a *activation) needCall(what string) {
	if !a.started {
		a.stopWith(a.errorf(kernel.CodeABI, "the plugin uses "+what+" in _initialize", "there is none before a call", "use it in the exported functions"))
	}
}

// configGet answers a member of the config document: a string as it is, any
// other value as JSON.
func (p *plugin) configGet(a *activation, stack []uint64) {
	a.needCall("config")
	members, _ := a.docs[abi.DocConfig].value.(map[string]any)
	v, ok := members[string(p.text(stack[0]))]
	if !ok {
		stack[0] = 0
		return
	}
	text, isText := v.(string)
	if !isText {
		encoded, err := kernel.EncodeJSON(v)
		if err != nil {
			a.stopWith(a.errorf(kernel.CodeConfig, "the module's config cannot be written as JSON", err.Error(), ""))
		}
		text = string(encoded)
	}
	stack[0] = p.give(a, []byte(text))
}

func (p *plugin) varGet(a *activation, stack []uint64) {
	a.needCall("vars")
	stack[0] = p.give(a, p.vars[string(p.text(stack[0]))]) // 0 if there is none
}

// varOverhead is what a variable costs beside its bytes.
const varOverhead = 64

func (p *plugin) varSet(a *activation, stack []uint64) {
	a.needCall("vars")
	name := string(p.text(stack[0]))
	if old, ok := p.vars[name]; ok {
		p.varBytes -= len(name) + len(old) + varOverhead
		delete(p.vars, name)
	}
	if stack[1] != 0 {
		value := p.text(stack[1])
		if p.varBytes += len(name) + len(value) + varOverhead; p.varBytes > a.limits.Document {
			a.stopWith(a.tooLarge("what the plugin keeps in vars", p.varBytes))
		}
		p.vars[name] = append([]byte(nil), value...)
		a.work += len(value)
	}
	p.free(stack[0]) // PDKs leave that to the host
	p.free(stack[1])
}

// httpRequest refuses, as data: plugins look at the status.
func (p *plugin) httpRequest(a *activation, stack []uint64) {
	a.needCall("HTTP")
	const refusal = "HTTP is refused: plugins are granted no hosts"
	a.logLine(abi.LevelWarn, []byte(refusal))
	p.httpStatus = 403
	stack[0] = p.give(a, []byte(refusal))
}

// hostCall is the native import call, by handles: op, and arguments as JSON. The
// reply is {"status": "ok", "reply"}, or another status and "error".
func (p *plugin) hostCall(a *activation, stack []uint64) {
	request := []uint64{stack[0], p.blocks[stack[0]], stack[1], p.blocks[stack[1]], 0, 0}
	status := a.hostCall(p.memory, request)
	reply := &a.docs[abi.DocReply]
	answer := map[string]any{"status": status.String(), "error": reply.value}
	if status == abi.OK {
		answer = map[string]any{"status": status.String(), "reply": reply.value}
	}
	text, err := kernel.EncodeJSON(answer)
	if err != nil {
		a.stopWith(a.errorf(kernel.CodeInternal, "the reply cannot be written as JSON", strings.ToValidUTF8(err.Error(), "?"), "report it"))
	}
	stack[0] = p.give(a, text)
}
