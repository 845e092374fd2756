//go:build !wasip1

package hexdagtest

import (
	"maps"
	"slices"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// Memory is a memory port that a Host answers with: JSON values by key, for ever.
type Memory map[string]string

// OnMemory grants the memory port's operations, and answers them from m, which a test may
// fill, change and look at.
func (h *Host) OnMemory(m Memory) {
	h.OnCall("memory.get", m.get)
	h.OnCall("memory.set", m.set)
	h.OnCall("memory.delete", m.remove)
	h.OnCall("memory.exists", m.exists)
	h.OnCall("memory.compare_and_swap", m.swap)
	h.OnCall("memory.list_keys", m.list)
}

// argument is an argument as JSON text.
func argument(r Request, name string) (text string, given bool) {
	args, _ := decode(r.Args)
	v, given := args.(map[string]any)[name] // the host takes no other request than an object
	return encode(v), given
}

func (m Memory) get(r Request) Reply {
	value, found := m[r.At("/key")]
	if !found {
		value, _ = argument(r, "default")
	}
	return Reply{Value: `{"found":` + encode(found) + `,"value":` + value + `}`}
}

func (m Memory) exists(r Request) Reply {
	_, found := m[r.At("/key")]
	return Reply{Value: `{"exists":` + encode(found) + `}`}
}

func (m Memory) set(r Request) Reply {
	value, given := argument(r, "value")
	if !given {
		return noValue(r)
	}
	m[r.At("/key")] = value
	return Reply{Value: `{"key":` + encode(r.At("/key")) + `,"stored":true}`}
}

func (m Memory) remove(r Request) Reply {
	_, found := m[r.At("/key")]
	delete(m, r.At("/key"))
	return Reply{Value: `{"deleted":` + encode(found) + `}`}
}

func (m Memory) swap(r Request) Reply {
	value, given := argument(r, "value")
	if !given {
		return noValue(r)
	}
	old, found := m[r.At("/key")]
	expected, isExpected := argument(r, "expected")
	swaps := !found
	if isExpected {
		swaps = found && old == expected
	}
	if swaps {
		m[r.At("/key")] = value
	}
	return Reply{Value: `{"swapped":` + encode(swaps) + `}`}
}

func (m Memory) list(r Request) Reply {
	keys := []any{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, r.At("/prefix")) && key > r.At("/after") {
			keys = append(keys, key)
		}
	}
	return Reply{Value: `{"keys":` + encode(keys) + `}`}
}

func noValue(r Request) Reply {
	return Reply{Status: hexdag.Invalid, Code: "port.arguments", Message: r.Op + ": value is missing"}
}
