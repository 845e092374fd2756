package driver

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Escape writes a text as letters, digits, '-' and '_', anything else as '=' and two
// hexadecimal digits a byte: different texts stay different, and are a segment of a key in
// every backend.
func Escape(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			b.Write([]byte{'=', hex[c>>4], hex[c&15]})
		}
	}
	if b.Len() == 0 {
		return "="
	}
	return b.String()
}

// Unescape returns the text that Escape wrote; what it did not write is returned as it is.
func Unescape(segment string) string {
	if segment == "=" {
		return ""
	}
	digit := func(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }
	var b strings.Builder
	for i := 0; i < len(segment); i++ {
		if segment[i] != '=' {
			b.WriteByte(segment[i])
			continue
		}
		if i+2 >= len(segment) || digit(segment[i+1]) < 0 || digit(segment[i+2]) < 0 {
			return segment
		}
		b.WriteByte(byte(digit(segment[i+1])<<4 | digit(segment[i+2])))
		i += 2
	}
	return b.String()
}

// Note is what a backend keeps beside a permit.
type Note struct {
	ID      string `json:"id,omitempty"` // of the acquire, where the backend needs one
	Owner   Owner  `json:"owner"`
	Permits int    `json:"permits"`
	TTL     int64  `json:"ttl_ms"`
	Fence   uint64 `json:"fence,omitempty"` // where the backend does not say it otherwise
}

// Encode returns the note of a request as JSON.
func (r *Request) Encode(id string) []byte { return r.EncodeRenewed(id, 0) }

// EncodeRenewed is Encode once the fence is known.
func (r *Request) EncodeRenewed(id string, fence uint64) []byte {
	owner := r.Owner
	if owner.Since.IsZero() {
		owner.Since = time.Now().UTC()
	}
	text, err := json.Marshal(Note{ID: id, Owner: owner, Permits: r.Permits, TTL: r.TTL.Milliseconds(), Fence: fence})
	if err != nil {
		panic(err) // it is made of texts, numbers and a time of this century
	}
	return text
}

// ReadNote reads what Encode wrote; what it did not write is an empty note.
func ReadNote(text []byte) (n Note) {
	if json.Unmarshal(text, &n) != nil {
		return Note{}
	}
	return n
}

// Sorted returns the first holders by tenant, name and fence.
func Sorted(list []Holder, limit int) []Holder {
	slices.SortFunc(list, func(a, b Holder) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Fence, b.Fence))
	})
	return list[:min(limit, len(list))]
}
