package hexdag

import (
	"strconv"

	"github.com/hexdag/hexdag/guests/sdk/go/internal/imports"
)

// failure is the first write that the host refused in this call and that Err
// has not returned. It turns the handler's verdict into an error, so that a
// patch that did not happen is never taken for one that did.
var failure error

// Err returns the first write that failed since the call began or since the last
// Err, and forgets it: from then on it is the caller's to handle. Nobody needs to
// call it; a failure that stays makes the verdict an error.
func Err() error {
	err := failure
	failure = nil
	return err
}

// WriteError is a write that the host refused.
type WriteError struct {
	Path   string
	Status Status
}

// Error names the path and the status.
func (e *WriteError) Error() string { return "cannot write " + e.Path + ": " + e.Status.Error() }

// Unwrap returns the status.
func (e *WriteError) Unwrap() error { return e.Status }

func (d Doc) set(path string, kind Kind, text string) {
	d.note(path, imports.Set(d.id, d.root+path, uint32(kind), text))
}

func (d Doc) note(path string, status int32) {
	if status != 0 && failure == nil {
		failure = &WriteError{d.root + path, Status(status)}
	}
}

// SetString writes a string, which is UTF-8.
func (d Doc) SetString(path, value string) { d.set(path, KindString, value) }

// SetInt writes an integer.
func (d Doc) SetInt(path string, value int64) {
	d.set(path, KindNumber, strconv.FormatInt(value, 10))
}

// SetFloat writes a number. JSON has no infinities and no NaN: they fail.
func (d Doc) SetFloat(path string, value float64) {
	d.set(path, KindNumber, strconv.FormatFloat(value, 'g', -1, 64))
}

// SetNumber writes a number given as JSON text, so that no digit is lost.
func (d Doc) SetNumber(path, text string) { d.set(path, KindNumber, text) }

// SetBool writes a boolean.
func (d Doc) SetBool(path string, value bool) { d.set(path, KindBool, strconv.FormatBool(value)) }

// SetNull writes null.
func (d Doc) SetNull(path string) { d.set(path, KindNull, "null") }

// SetJSON writes any value, given as JSON text.
func (d Doc) SetJSON(path, text string) { d.set(path, kindJSON, text) }

// SetValue writes a value as Get returned it.
func (d Doc) SetValue(path string, v Value) { d.set(path, v.Kind, v.Text) }

// Remove removes the member at path.
func (d Doc) Remove(path string) { d.set(path, KindAbsent, "") }

// AppendBody adds to the raw bytes beside the result.
func (d Doc) AppendBody(data []byte) { d.note("(body)", imports.Append(d.id, data)) }
