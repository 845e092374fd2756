//go:build !wasip1

// Package imports is the boundary to the host: the imports of hexdag_v1 as Go
// functions. Elsewhere than in WebAssembly a Host stands in for them.
package imports

// Host is what stands in for the real host in native tests. The methods are the
// imports of the same name.
type Host interface {
	Field(doc uint32, path string, buf []byte) int64
	Keys(doc uint32, path string, buf []byte) int64
	Set(doc uint32, path string, kind uint32, value string) int32
	Body(doc uint32, offset int64, buf []byte) int64
	Append(doc uint32, data []byte) int32
	Call(op string, data []byte) int32
	Log(level uint32, text string) int32
	Clock(id uint32) int64
	Random(buf []byte) int32
}

// Current is the host that the functions below reach. It is nil outside of a
// call, where a real guest could reach no host either.
var Current Host

// Field reads one field: its kind and length, or a status.
func Field(doc uint32, path string, buf []byte) int64 { return Current.Field(doc, path, buf) }

// Keys lists the members of an object or array: their count and length, or a status.
func Keys(doc uint32, path string, buf []byte) int64 { return Current.Keys(doc, path, buf) }

// Set writes or removes one field.
func Set(doc uint32, path string, kind uint32, value string) int32 {
	return Current.Set(doc, path, kind, value)
}

// Body copies a part of the raw bytes beside a document, and returns their total length.
func Body(doc uint32, offset int64, buf []byte) int64 { return Current.Body(doc, offset, buf) }

// Append adds to the raw bytes beside a document.
func Append(doc uint32, data []byte) int32 { return Current.Append(doc, data) }

// Call calls a port's method with the request document.
func Call(op string, data []byte) int32 { return Current.Call(op, data) }

// Log writes a log line.
func Log(level uint32, text string) int32 { return Current.Log(level, text) }

// Clock reads a clock.
func Clock(id uint32) int64 { return Current.Clock(id) }

// Random fills buf.
func Random(buf []byte) int32 { return Current.Random(buf) }
