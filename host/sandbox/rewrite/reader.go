package rewrite

import (
	"unicode/utf8"
)

// reader reads a part of a module. Its error sticks: after the first failure every
// read returns zero and nothing is left to read, so that a caller's loop ends
// and one look at err at its end is enough.
type reader struct {
	buf  []byte
	pos  int
	base int // where buf starts in the module
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.pos = len(r.buf)
}

func (r *reader) invalid(format string, args ...any) {
	if r.err == nil {
		r.fail(invalid(r.offset(), format, args...))
	}
}

func (r *reader) unsupported(feature string) {
	if r.err == nil {
		r.fail(unsupported(r.offset(), feature))
	}
}

func (r *reader) offset() int { return r.base + r.pos }

func (r *reader) more() bool { return r.pos < len(r.buf) }

func (r *reader) byte() byte {
	if r.pos >= len(r.buf) {
		r.invalid("unexpected end")
		return 0
	}
	b := r.buf[r.pos]
	r.pos++
	return b
}

// peek returns the next byte without consuming it.
func (r *reader) peek() byte {
	if r.pos >= len(r.buf) {
		r.invalid("unexpected end")
		return 0
	}
	return r.buf[r.pos]
}

func (r *reader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.buf)-r.pos) {
		r.invalid("unexpected end: %d bytes wanted, %d left", n, len(r.buf)-r.pos)
		return nil
	}
	b := r.buf[r.pos : r.pos+int(n) : r.pos+int(n)]
	r.pos += int(n)
	return b
}

func (r *reader) u32() uint32 {
	if r.pos < len(r.buf) {
		if b := r.buf[r.pos]; b < 0x80 {
			r.pos++
			return uint32(b)
		}
	}
	return uint32(r.leb(32, false))
}

// s33 reads a block type or heap type.
func (r *reader) s33() int64 { return r.leb(33, true) }

func (r *reader) skipS32() { r.leb(32, true) }
func (r *reader) skipS64() { r.leb(64, true) }

// leb reads a LEB128 number of at most the given bits, in no more bytes than
// they need; the unused bits of the last byte must be the extension of the number.
func (r *reader) leb(bits uint, signed bool) int64 {
	var v int64
	for shift := uint(0); ; shift += 7 {
		b := r.byte()
		if r.err != nil {
			return 0
		}
		v |= int64(b&0x7f) << shift
		if left := bits - shift; left < 8 {
			if b >= 0x80 || !extends(b, left, signed) {
				r.invalid("a number of %d bits is too long or too large", bits)
				return 0
			}
		}
		if b < 0x80 {
			if end := shift + 7; signed && b&0x40 != 0 && end < 64 {
				v |= -1 << end
			}
			return v
		}
	}
}

// extends reports whether the bits of b above the low n (1 to 7) extend the
// number: zeroes, or the sign in all of them.
func extends(b byte, n uint, signed bool) bool {
	if !signed {
		return b>>n == 0
	}
	top := int8(b<<1) >> n // the sign bit and what is above it
	return top == 0 || top == -1
}

// count reads the length of a vector and holds it against a limit and, since
// an entry takes at least a byte, against the bytes that are left.
func (r *reader) count(name string, limit int) int {
	at := r.offset()
	n := r.u32()
	if uint64(n) > uint64(max(limit, 0)) {
		r.fail(exceeded(at, name, uint64(n), limit))
		return 0
	}
	if uint64(n) > uint64(len(r.buf)-r.pos) {
		r.invalid("%s: %d declared in %d bytes", name, n, len(r.buf)-r.pos)
		return 0
	}
	return int(n)
}

func (r *reader) name() string {
	b := r.bytes(r.u32())
	if !utf8.Valid(b) {
		r.invalid("a name is not UTF-8")
		return ""
	}
	return string(b)
}

// sub returns a reader of the next n bytes.
func (r *reader) sub(n uint32) *reader {
	base := r.offset()
	return &reader{buf: r.bytes(n), base: base, err: r.err}
}

// close fails if something is left of what was to be read whole.
func (r *reader) close(what string) error {
	if r.err == nil && r.more() {
		r.invalid("%d bytes after the end of the %s", len(r.buf)-r.pos, what)
	}
	return r.err
}
