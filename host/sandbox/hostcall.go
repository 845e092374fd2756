package sandbox

import (
	"errors"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// hostCall is the one door: it takes the request, lets the host do the operation
// and leaves the reply, or the error, in the reply document.
func (a *activation) hostCall(mem memory, stack []uint64) abi.Status {
	if a.usage.HostCalls++; a.usage.HostCalls > a.limits.HostCalls {
		return a.refuse(abi.Limit, "the call has used up its calls of the host")
	}
	if a.budgets.HostCalls.Take(1) == 0 {
		return a.refuse(abi.Limit, "the run has used up its calls of the host")
	}
	op, args, body, status := a.request(mem, stack)
	if status != abi.OK {
		return a.refuse(status, "the request cannot be read")
	}
	if a.call.Host == nil || !a.started {
		return a.refuse(abi.Denied, "the module has no rights here")
	}
	a.called = lastCall{op: op}
	reply, err := a.call.Host.Call(a.hostContext(), op, args, body)
	a.checkTime() // what the host did may have taken all of it
	if err != nil {
		a.called.status = a.replyError(err)
		return a.called.status
	}
	doc := &a.docs[abi.DocReply]
	doc.reset()
	doc.put(reply.Value)
	doc.body = reply.Body
	if len(reply.Body) > a.limits.Body {
		return a.refuse(abi.Limit, "the reply's body is larger than the module may take")
	}
	if text, status := doc.encoded(); status != abi.OK || len(text) > a.limits.Document {
		return a.refuse(abi.Limit, "the reply is larger than the module may take")
	}
	return abi.OK
}

// request takes the operation, its arguments and its body out of the guest's
// memory and the request document, and empties the latter.
func (a *activation) request(mem memory, stack []uint64) (op string, args map[string]any, body []byte, status abi.Status) {
	doc := &a.docs[abi.DocRequest]
	value, present, pending := doc.value, doc.present, doc.body
	doc.reset()
	a.written[abi.DocRequest] = 0
	if uint32(stack[1]) > maxOp {
		return "", nil, nil, abi.Unsupported
	}
	name, ok := view(mem, stack[0], stack[1])
	if !ok {
		return "", nil, nil, abi.Fault
	}
	op = string(name)
	if headLen := uint32(stack[3]); headLen > 0 {
		if value, status = a.head(mem, stack[2], headLen); status != abi.OK {
			return "", nil, nil, status
		}
		present = true
	}
	if !present {
		value = map[string]any{}
	}
	if args, ok = value.(map[string]any); !ok {
		return "", nil, nil, abi.Invalid
	}
	if bodyLen := uint32(stack[5]); bodyLen > 0 {
		if uint64(bodyLen) > uint64(a.limits.Body) {
			return "", nil, nil, abi.Limit
		}
		raw, ok := view(mem, stack[4], stack[5])
		if !ok {
			return "", nil, nil, abi.Fault
		}
		pending = append([]byte(nil), raw...)
		a.out(int(bodyLen))
	}
	return op, args, pending, abi.OK
}

func (a *activation) head(mem memory, ptr uint64, length uint32) (kernel.Value, abi.Status) {
	if uint64(length) > uint64(a.limits.Document) {
		return nil, abi.Limit
	}
	raw, ok := view(mem, ptr, uint64(length))
	if !ok {
		return nil, abi.Fault
	}
	v, err := kernel.DecodeJSON(append([]byte(nil), raw...))
	if err != nil {
		return nil, abi.Invalid
	}
	a.out(int(length))
	return v, abi.OK
}

// refuse leaves a refusal of the sandbox itself in the reply document.
func (a *activation) refuse(status abi.Status, message string) abi.Status {
	doc := &a.docs[abi.DocReply]
	doc.reset()
	doc.put(map[string]any{"code": status.String(), "message": message})
	return status
}

// replyError leaves an error of the host in the reply document.
func (a *activation) replyError(err error) abi.Status {
	status := statusOf(err)
	message := err.Error()
	problem := map[string]any{"code": string(kernel.CodeOf(err))}
	var e *kernel.Error
	if errors.As(err, &e) {
		message = strings.TrimSuffix(e.What+": "+e.Why, ": ")
		if e.RetryAfter > 0 {
			problem["retry_ms"] = kernel.Number(e.RetryAfter.Milliseconds())
		}
	}
	problem["message"] = strings.ToValidUTF8(message, "\uFFFD")
	doc := &a.docs[abi.DocReply]
	doc.reset()
	doc.put(problem)
	return status
}
