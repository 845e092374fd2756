package sandbox

import (
	"regexp"
	"strings"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// lastCall is the last call that a guest made through the one door.
type lastCall struct {
	op     string
	status abi.Status
}

// String is what a trap's error says of it.
func (c lastCall) String() string {
	if c.op == "" {
		return ""
	}
	return "; the last call of the host was " + kernel.Quote(c.op) + ", which answered " + c.status.String()
}

// Frames of a stack, as the engines write them: wazero as .name(parameters) results,
// wasmtime as 0: 0x12 - module!name.
var frame = regexp.MustCompile(`(?m)^(?:\t[^\t\n.]*\.(.+)\([a-z0-9, ]*\).*|\s*\d+:\s+0x[0-9a-f]+ - [^!\n]*!(.+))$`)

// nameless is how the engines call functions without a name, by a number that is
// that of the rewritten module.
var nameless = regexp.MustCompile(`^(?:\$|<wasm function )\d+>?$`)

// maxFrames bounds how much of a guest's stack an error shows.
const maxFrames = 6

// within names the guest's functions in which it trapped, innermost first: the names
// are the guest's own, and none where the module has no section of names.
func within(err error) string {
	var names []string
	for _, m := range frame.FindAllStringSubmatch(err.Error(), maxFrames+1) {
		name := m[1] + m[2]
		if nameless.MatchString(name) {
			name = "a function without a name"
		}
		names = append(names, kernel.Quote(name))
	}
	if len(names) == 0 {
		return ""
	}
	if len(names) > maxFrames {
		names[maxFrames] = "..."
	}
	return ", in " + strings.Join(names, " < ")
}
