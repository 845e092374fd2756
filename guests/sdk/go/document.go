package hexdag

import (
	"strconv"

	"github.com/hexdag/hexdag/guests/sdk/go/internal/imports"
)

const (
	docInput   = 0
	docConfig  = 1
	docRequest = 2
	docReply   = 3
	docOutput  = 4
)

// Kind is the JSON type of a value.
type Kind uint32

// The kinds. KindAbsent is that of a member that is not there.
const (
	KindAbsent Kind = 0
	KindNull   Kind = 1
	KindBool   Kind = 2
	KindNumber Kind = 3
	KindString Kind = 4
	KindArray  Kind = 5
	KindObject Kind = 6
	kindJSON   Kind = 7
)

// Doc is a JSON document in the host, or a part of one. Its paths are JSON
// pointers (RFC 6901) relative to it: "" is the whole, "/a/0" the first of a.
type Doc struct {
	id   uint32
	root string
}

// At returns the part of the document at path, whether it is there or not.
func (d Doc) At(path string) Doc { return Doc{d.id, d.root + path} }

// Value is a field as the host gives it: the characters of a string, the JSON
// text of anything else.
type Value struct {
	Kind Kind
	Text string
}

// scratch takes what most fields fit in, so that one host call reads them.
var scratch [4096]byte

// Get returns the value at path, of KindAbsent if there is none. The error is a Status.
func (d Doc) Get(path string) (Value, error) {
	buf := scratch[:]
	for {
		r := imports.Field(d.id, d.root+path, buf)
		if r < 0 {
			return Value{}, Status(r)
		}
		size := int(uint32(r))
		if size <= len(buf) {
			return Value{Kind(r >> 32), string(buf[:size])}, nil
		}
		buf = make([]byte, size)
	}
}

// Kind returns the kind of the value at path; KindAbsent too if path is malformed.
func (d Doc) Kind(path string) Kind {
	r := imports.Field(d.id, d.root+path, nil)
	if r < 0 {
		return KindAbsent
	}
	return Kind(r >> 32)
}

// Raw returns the value at path as JSON text, but the bare characters if it is a
// string; "" if it is absent.
func (d Doc) Raw(path string) string {
	v, err := d.Get(path)
	if err != nil {
		return ""
	}
	return v.Text
}

// String returns the string at path, or "" if there is no string.
func (d Doc) String(path string) string {
	v, err := d.Get(path)
	if err != nil || v.Kind != KindString {
		return ""
	}
	return v.Text
}

// Int returns the integer at path, or otherwise if there is none that an int64 holds.
func (d Doc) Int(path string, otherwise int64) int64 {
	v, err := d.Get(path)
	if err != nil || v.Kind != KindNumber {
		return otherwise
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

// Float returns the number at path, or otherwise if there is none.
func (d Doc) Float(path string, otherwise float64) float64 {
	v, err := d.Get(path)
	if err != nil || v.Kind != KindNumber {
		return otherwise
	}
	f, err := strconv.ParseFloat(v.Text, 64)
	if err != nil {
		return otherwise
	}
	return f
}

// Bool returns the boolean at path, or otherwise if there is none.
func (d Doc) Bool(path string, otherwise bool) bool {
	v, err := d.Get(path)
	if err != nil || v.Kind != KindBool {
		return otherwise
	}
	return v.Text == "true"
}

// Len returns the number of members of the object or array at path, else 0.
func (d Doc) Len(path string) int {
	r := imports.Keys(d.id, d.root+path, nil)
	if r < 0 {
		return 0
	}
	return int(r >> 32)
}

// Keys returns the member names of the object at path in byte order, or the
// indexes of the array. The error is NotFound, Invalid for any other kind, or another Status.
func (d Doc) Keys(path string) ([]string, error) {
	buf := scratch[:]
	for {
		r := imports.Keys(d.id, d.root+path, buf)
		if r < 0 {
			return nil, Status(r)
		}
		size := int(uint32(r))
		if size <= len(buf) {
			return splitTokens(string(buf[:size]), int(r>>32)), nil
		}
		buf = make([]byte, size)
	}
}

// BodySize returns the number of raw bytes beside the input or the reply.
func (d Doc) BodySize() int64 { return max(0, imports.Body(d.id, 0, nil)) }

// ReadBody copies raw bytes from offset on to buf, and returns how many.
func (d Doc) ReadBody(offset int64, buf []byte) (int, error) {
	if offset < 0 {
		return 0, Invalid
	}
	total := imports.Body(d.id, offset, buf)
	if total < 0 {
		return 0, Status(total)
	}
	return int(min(int64(len(buf)), max(0, total-offset))), nil
}

// Body returns all the raw bytes beside the input or the reply.
func (d Doc) Body() ([]byte, error) {
	buf := make([]byte, d.BodySize())
	n, err := d.ReadBody(0, buf)
	return buf[:n], err
}
