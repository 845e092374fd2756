//go:build !wasip1

package hexdagtest

import (
	"slices"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// The numbers of the ABI.
const (
	docInput   = 0
	docConfig  = 1
	docRequest = 2
	docReply   = 3
	docOutput  = 4
	documents  = 5

	kindJSON = 7
)

// The limits that the specification gives as defaults.
const (
	maxDocument = 1 << 20
	maxBody     = 16 << 20
	maxLine     = 8 << 10
	maxLines    = 256
	maxCalls    = 1000
	maxRandom   = 64 << 10
)

type document struct {
	value   any
	present bool
	body    []byte
}

// call is the host's side of one call of an export: the imports.
type call struct {
	host      *Host
	patchable string
	docs      [documents]document
	log       []string
	calls     []Request
}

func copyWhole(buf []byte, text string) {
	if len(text) <= len(buf) {
		copy(buf, text)
	}
}

func (c *call) Field(doc uint32, path string, buf []byte) int64 {
	v, status := c.lookup(doc, path)
	switch status {
	case hexdag.NotFound:
		return 0
	case 0:
		text := textOf(v)
		copyWhole(buf, text)
		return int64(kindOf(v))<<32 | int64(len(text))
	}
	return int64(status)
}

func (c *call) Keys(doc uint32, path string, buf []byte) int64 {
	v, status := c.lookup(doc, path)
	if status != 0 {
		return int64(status)
	}
	names, ok := membersOf(v)
	if !ok {
		return int64(hexdag.Invalid)
	}
	var text string
	for _, name := range names {
		text += "/" + hexdag.Escape(name)
	}
	copyWhole(buf, text)
	return int64(len(names))<<32 | int64(len(text))
}

func (c *call) lookup(doc uint32, path string) (any, hexdag.Status) {
	if doc >= documents {
		return nil, hexdag.Unsupported
	}
	tokens, status := parsePointer(path)
	if status != 0 {
		return nil, status
	}
	if !c.docs[doc].present {
		return nil, hexdag.NotFound
	}
	return find(c.docs[doc].value, tokens)
}

func (c *call) Set(doc uint32, path string, kind uint32, value string) int32 {
	return int32(c.set(doc, path, kind, value))
}

func (c *call) set(doc uint32, path string, kind uint32, value string) hexdag.Status {
	if doc >= documents || kind > kindJSON {
		return hexdag.Unsupported
	}
	tokens, status := parsePointer(path)
	if status != 0 {
		return status
	}
	if !c.writable(doc, tokens) {
		return hexdag.Denied
	}
	d := c.docs[doc]
	switch {
	case kind != uint32(hexdag.KindAbsent):
		v, ok := parseAs(kind, value)
		if !ok {
			return hexdag.Invalid
		}
		if !d.present {
			d.value = map[string]any{}
		}
		d.value, status = assign(d.value, tokens, v)
		d.present = true
	case len(tokens) == 0:
		d = document{body: d.body}
	case d.present:
		d.value, status = remove(d.value, tokens)
	default:
		status = hexdag.NotFound
	}
	if status == 0 && len(encode(d.value)) > maxDocument {
		status = hexdag.Limit
	}
	if status == 0 {
		c.docs[doc] = d
	}
	return status
}

// writable says whether the guest may write there: the input only at or below the
// part that the extension point opens.
func (c *call) writable(doc uint32, tokens []string) bool {
	switch doc {
	case docRequest, docOutput:
		return true
	case docInput:
		return c.patchable != "" && len(tokens) > 0 && "/"+tokens[0] == c.patchable
	}
	return false
}

func (c *call) Body(doc uint32, offset int64, buf []byte) int64 {
	if doc >= documents {
		return int64(hexdag.Unsupported)
	}
	body := c.docs[doc].body
	copy(buf, body[min(uint64(offset), uint64(len(body))):])
	return int64(len(body))
}

func (c *call) Append(doc uint32, data []byte) int32 {
	if doc >= documents {
		return int32(hexdag.Unsupported)
	}
	if doc != docRequest && doc != docOutput {
		return int32(hexdag.Denied)
	}
	d := &c.docs[doc]
	if len(d.body)+len(data) > maxBody {
		return int32(hexdag.Limit)
	}
	d.body = append(d.body, data...)
	return 0
}

func (c *call) Call(op string, data []byte) int32 {
	request := c.docs[docRequest]
	c.docs[docRequest] = document{}
	if !request.present {
		request.value = map[string]any{}
	}
	if len(data) > 0 {
		request.body = slices.Clone(data)
	}
	reply := Reply{Status: hexdag.Denied, Code: "denied", Message: op + " is not granted"}
	if _, isObject := request.value.(map[string]any); !isObject {
		reply = Reply{Status: hexdag.Invalid, Code: "port.arguments", Message: "the request is not an object"}
	} else if len(c.calls) >= maxCalls {
		reply = Reply{Status: hexdag.Limit, Code: "limit", Message: "too many calls"}
	} else {
		r := Request{op, encode(request.value), request.body}
		c.calls = append(c.calls, r)
		if answer := c.host.ports[op]; answer != nil {
			reply = answer(r)
		}
	}
	return c.answer(reply)
}

func (c *call) answer(r Reply) int32 {
	d := document{present: true, body: r.Body}
	if r.Status == 0 {
		d.value = c.host.decode("reply", r.Value)
	} else {
		problem := map[string]any{"code": r.Code, "message": r.Message}
		if r.Status == hexdag.Retry {
			problem["retry_ms"] = r.RetryMilliseconds
		}
		d = document{present: true, value: c.host.decode("problem", encode(problem))}
	}
	c.docs[docReply] = d
	return int32(r.Status)
}

func (c *call) Log(level uint32, text string) int32 {
	if len(c.log) >= maxLines {
		return int32(hexdag.Limit)
	}
	names := []string{"debug", "info", "warn", "error"}
	c.log = append(c.log, names[min(level, 3)]+": "+text[:min(len(text), maxLine)])
	return 0
}

func (c *call) Clock(id uint32) int64 {
	switch {
	case id > 1:
		return int64(hexdag.Unsupported)
	case c.host.Now == nil:
		return int64(hexdag.Denied)
	}
	return c.host.Now()
}

func (c *call) Random(buf []byte) int32 {
	switch {
	case c.host.Entropy == nil:
		return int32(hexdag.Denied)
	case len(buf) > maxRandom:
		return int32(hexdag.Limit)
	}
	c.host.Entropy(buf)
	return 0
}
