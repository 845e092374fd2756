// Package hexdag is the Go SDK for hexdag guests, for the standard toolchain
// (GOOS=wasip1, -buildmode=c-shared). It has no dependencies and uses neither
// reflection nor encoding/json: fields are read and patched one by one, in the
// host's copy of the document.
//
// A guest registers a handler with the package named after its extension point;
// importing that package is what makes the module export it:
//
//	func init() {
//		nodebefore.Handle(func(c *hexdag.NodeCall) hexdag.Verdict {
//			c.Input().SetString("/greeting", "hello "+c.Input().String("/name"))
//			return hexdag.Replace()
//		})
//	}
//
//	func main() {}
//
// Handlers are ordinary functions, tested natively with package hexdagtest.
package hexdag

import "github.com/hexdag/hexdag/guests/sdk/go/internal/imports"

// Status is why the host did not do what it was asked. It is an error.
type Status int32

// The statuses of the ABI.
const (
	NotFound    Status = -1
	Denied      Status = -2
	Invalid     Status = -3
	Limit       Status = -4
	Fault       Status = -5
	Unsupported Status = -6
	Unavailable Status = -7
	Timeout     Status = -8
	Failed      Status = -9
	Retry       Status = -10
)

// Error returns the status in the words of the specification.
func (s Status) Error() string {
	names := [...]string{"ok", "not_found", "denied", "invalid", "limit", "fault", "unsupported", "unavailable", "timeout", "failed", "retry"}
	if s > 0 || int(-s) >= len(names) {
		return "unknown"
	}
	return names[-s]
}

// Level is the severity of a log line.
type Level uint32

// The log levels.
const (
	LevelDebug Level = 0
	LevelInfo  Level = 1
	LevelWarn  Level = 2
	LevelError Level = 3
)

// Log writes a line to the run's log. What is over the host's limits is dropped.
func Log(level Level, text string) { imports.Log(uint32(level), text) }

// Now returns the wall clock in nanoseconds since 1970. It needs the capability clock.read.
func Now() (int64, error) { return readClock(0) }

// Elapsed returns the nanoseconds since the run's start. It needs the capability clock.read.
func Elapsed() (int64, error) { return readClock(1) }

func readClock(id uint32) (int64, error) {
	ns := imports.Clock(id)
	if ns < 0 {
		return 0, Status(ns)
	}
	return ns, nil
}

// Random fills buf, of at most 64 KiB, with random bytes. It needs the capability random.read.
func Random(buf []byte) error {
	if status := imports.Random(buf); status != 0 {
		return Status(status)
	}
	return nil
}

// Config is what the operator configured for this module; absent if nothing.
func Config() Doc { return Doc{id: docConfig} }
