//go:build wasip1

// Package imports is the boundary to the host: the imports of hexdag_v1 as Go
// functions. Elsewhere than in WebAssembly a Host stands in for them.
package imports

import "unsafe"

//go:wasmimport hexdag_v1 field
//go:noescape
func field(doc uint32, path string, buf unsafe.Pointer, size uint32) int64

//go:wasmimport hexdag_v1 keys
//go:noescape
func keys(doc uint32, path string, buf unsafe.Pointer, size uint32) int64

//go:wasmimport hexdag_v1 set
//go:noescape
func set(doc uint32, path string, kind uint32, value string) int32

//go:wasmimport hexdag_v1 body
//go:noescape
func body(doc uint32, offset int64, buf unsafe.Pointer, size uint32) int64

//go:wasmimport hexdag_v1 append
//go:noescape
func appendBody(doc uint32, data unsafe.Pointer, size uint32) int32

//go:wasmimport hexdag_v1 call
//go:noescape
func call(op string, head string, body unsafe.Pointer, size uint32) int32

//go:wasmimport hexdag_v1 log
//go:noescape
func logLine(level uint32, text string) int32

//go:wasmimport hexdag_v1 clock
func clock(id uint32) int64

//go:wasmimport hexdag_v1 random
//go:noescape
func random(buf unsafe.Pointer, size uint32) int32

func split(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
}

// Field reads one field: its kind and length, or a status.
func Field(doc uint32, path string, buf []byte) int64 {
	p, n := split(buf)
	return field(doc, path, p, n)
}

// Keys lists the members of an object or array: their count and length, or a status.
func Keys(doc uint32, path string, buf []byte) int64 {
	p, n := split(buf)
	return keys(doc, path, p, n)
}

// Set writes or removes one field.
func Set(doc uint32, path string, kind uint32, value string) int32 {
	return set(doc, path, kind, value)
}

// Body copies a part of the raw bytes beside a document, and returns their total length.
func Body(doc uint32, offset int64, buf []byte) int64 {
	p, n := split(buf)
	return body(doc, offset, p, n)
}

// Append adds to the raw bytes beside a document.
func Append(doc uint32, data []byte) int32 {
	p, n := split(data)
	return appendBody(doc, p, n)
}

// Call calls a port's method with the request document.
func Call(op string, data []byte) int32 {
	p, n := split(data)
	return call(op, "", p, n)
}

// Log writes a log line.
func Log(level uint32, text string) int32 { return logLine(level, text) }

// Clock reads a clock.
func Clock(id uint32) int64 { return clock(id) }

// Random fills buf.
func Random(buf []byte) int32 {
	p, n := split(buf)
	return random(p, n)
}
