package hexdag

import (
	"strconv"

	"github.com/hexdag/hexdag/guests/sdk/go/internal/imports"
)

// Call is a call of a port's method in the making:
//
//	reply, err := hexdag.NewCall("database.query").
//		String("/table", "orders").
//		String("/where/id", id).
//		Do()
type Call struct {
	op      string
	members []member
	body    []byte
}

type member struct {
	path string
	Value
}

// NewCall starts a call of op, "port.method". It needs that capability.
func NewCall(op string) *Call { return &Call{op: op} }

func (c *Call) add(path string, kind Kind, text string) *Call {
	c.members = append(c.members, member{path, Value{kind, text}})
	return c
}

// String adds a string to the arguments. Missing parents are made.
func (c *Call) String(path, value string) *Call { return c.add(path, KindString, value) }

// Int adds an integer to the arguments.
func (c *Call) Int(path string, value int64) *Call {
	return c.add(path, KindNumber, strconv.FormatInt(value, 10))
}

// Bool adds a boolean to the arguments.
func (c *Call) Bool(path string, value bool) *Call {
	return c.add(path, KindBool, strconv.FormatBool(value))
}

// JSON adds any value to the arguments, given as JSON text.
func (c *Call) JSON(path, text string) *Call { return c.add(path, kindJSON, text) }

// Value adds a value as Get returned it.
func (c *Call) Value(path string, v Value) *Call { return c.add(path, v.Kind, v.Text) }

// Body puts raw bytes beside the arguments.
func (c *Call) Body(data []byte) *Call {
	c.body = data
	return c
}

// Do makes the call. The reply is there until the next one; the error is a *CallError.
func (c *Call) Do() (Doc, error) {
	for _, m := range c.members {
		if status := imports.Set(docRequest, m.path, uint32(m.Kind), m.Text); status != 0 {
			imports.Set(docRequest, "", uint32(KindAbsent), "") // or the next call would send what is left
			return Doc{}, &CallError{Op: c.op, Status: Status(status), Message: "cannot write the argument " + m.path}
		}
	}
	reply := Doc{id: docReply}
	if status := imports.Call(c.op, c.body); status != 0 {
		return reply, &CallError{
			Op: c.op, Status: Status(status),
			Code: reply.String("/code"), Message: reply.String("/message"),
			RetryMilliseconds: uint32(reply.Int("/retry_ms", 0)),
		}
	}
	return reply, nil
}

// Reply is what the last call gave, also where it failed: its answer, or /code and
// /message. It is absent before the first.
func Reply() Doc { return Doc{id: docReply} }

// CallError is a call that did not succeed.
type CallError struct {
	Op                string
	Status            Status
	Code              string // the host's stable name of the error
	Message           string
	RetryMilliseconds uint32 // when to try again, if Status is Retry
}

// Error names the operation, the status and the message.
func (e *CallError) Error() string {
	text := e.Op + ": " + e.Status.Error()
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns the status.
func (e *CallError) Unwrap() error { return e.Status }
