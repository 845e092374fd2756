//go:build wasmtime

// Package direct calls a function of wasmtime without the binding's conversions,
// to tell what of a call's cost is the binding's and what is cgo's.
package direct

/*
#cgo linux LDFLAGS: -Wl,--unresolved-symbols=ignore-all
#include <stddef.h>
extern void *wasmtime_func_call_unchecked(void *store, const void *func, void *args, size_t n, void **trap);
static int direct_call(void *store, void *func, void *args, size_t n) {
	void *trap = NULL;
	return wasmtime_func_call_unchecked(store, func, args, n, &trap) == NULL && trap == NULL;
}
*/
import "C"

import (
	"runtime"
	"unsafe"

	"github.com/bytecodealliance/wasmtime-go/v39"
)

// Call calls f with raw values, 16 bytes each, where the results go as well. It
// reports whether f returned.
func Call(store *wasmtime.Store, f *wasmtime.Func, values *[2]uint64) bool {
	// A Func is its C value, and nothing else.
	ok := C.direct_call(unsafe.Pointer(store.Context()), unsafe.Pointer(f), unsafe.Pointer(values), 1)
	runtime.KeepAlive(store)
	return ok != 0
}
