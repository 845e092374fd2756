package rewrite

import (
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
)

// ErrRewritten is the cause when a module has been rewritten before.
var ErrRewritten = errors.New("rewritten twice")

// LimitError is the cause when a module exceeds a static limit.
type LimitError struct {
	Name         string // what is limited, for instance "functions"
	Value, Limit uint64
}

// Error says which limit was exceeded, and by what.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: %d, the limit is %d", e.Name, e.Value, e.Limit)
}

// UnsupportedError is the cause when a module uses a part of WebAssembly that
// is not accepted.
type UnsupportedError struct {
	Feature string // one of the Feature constants
}

// Error names the feature.
func (e *UnsupportedError) Error() string { return e.Feature + " is not supported" }

// The features that are refused by name.
const (
	FeatureTailCall       = "tail calls"
	FeatureThreads        = "threads and atomics"
	FeatureExceptions     = "exception handling"
	FeatureMemory64       = "memory64"
	FeatureMultiMemory    = "multiple memories"
	FeatureGC             = "garbage collection"
	FeatureTypedRefs      = "typed function references"
	FeatureRelaxedSIMD    = "relaxed SIMD"
	FeatureExtendedConst  = "extended constant expressions"
	FeatureWideArithmetic = "wide arithmetic"
	FeatureCustomPageSize = "custom page sizes"
	FeatureComponent      = "the component model"
	FeatureMutableImport  = "imported mutable globals"
)

// instead says, for each refused feature, what to build instead.
var instead = map[string]string{
	FeatureTailCall:       "compile without tail calls: clang -mno-tail-call, Rust -C target-feature=-tail-call",
	FeatureThreads:        "compile without threads: no -pthread, no shared memory, target wasm32-wasip1 and not wasm32-wasip1-threads",
	FeatureExceptions:     "compile without wasm exceptions: -fno-exceptions, or Rust with panic=abort",
	FeatureMemory64:       "compile for wasm32, not wasm64",
	FeatureMultiMemory:    "use one memory: merge them with wasm-opt --multi-memory-lowering",
	FeatureGC:             "use a compiler that brings its own memory management in linear memory, without wasm GC",
	FeatureTypedRefs:      "use call_indirect through a funcref table instead of call_ref",
	FeatureRelaxedSIMD:    "compile without relaxed SIMD (its results differ by machine): -mno-relaxed-simd; -msimd128 is fine",
	FeatureExtendedConst:  "link at fixed addresses: compile without -mextended-const and without position-independent code",
	FeatureWideArithmetic: "compile without -mwide-arithmetic",
	FeatureCustomPageSize: "use the standard page size of 64 KiB",
	FeatureComponent:      "build a core module: target wasm32-wasip1 (Rust), GOOS=wasip1 (Go), or unbundle the core module with wasm-tools",
	FeatureMutableImport:  "keep mutable globals inside the module, and pass values as arguments",
}

const notRunnable = "the module cannot be run"

// invalid is the refusal of what is not a well-formed module; offset is the
// place in the module's bytes.
func invalid(offset int, format string, args ...any) error {
	return &kernel.Error{
		Code: kernel.CodeModuleInvalid,
		What: notRunnable,
		Why:  fmt.Sprintf("at byte %#x: ", offset) + fmt.Sprintf(format, args...),
		Fix:  "build the module again; check it with wasm-validate or wasm-tools validate",
	}
}

// unsupported is the refusal of a feature by its name.
func unsupported(offset int, feature string) error {
	cause := &UnsupportedError{feature}
	code := kernel.CodeModuleInvalid
	if feature == FeatureComponent {
		code = kernel.CodeModuleComponent
	}
	return &kernel.Error{
		Code: code,
		What: notRunnable,
		Why:  fmt.Sprintf("at byte %#x: %s", offset, cause),
		Fix:  instead[feature],
		Err:  cause,
	}
}

// exceeded is the refusal of what is over a limit.
func exceeded(offset int, name string, value uint64, limit int) error {
	cause := &LimitError{name, value, uint64(max(limit, 0))}
	raise := "limits.memory" // in bytes, a page being 65,536
	if setting, ok := settingOf[name]; ok {
		raise = "static_limits." + setting
	}
	return &kernel.Error{
		Code: kernel.CodeLimit,
		What: notRunnable,
		Why:  fmt.Sprintf("at byte %#x: %s", offset, cause),
		Fix:  "make the module smaller or simpler, or have the operator raise " + raise,
		Err:  cause,
	}
}
