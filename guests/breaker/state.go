package main

import (
	"strconv"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

// state is a circuit. The zero state is a closed one without failures, and is
// kept as no value at all until there has been one.
type state struct {
	failures int64 // in a row
	openedMS int64 // since 1970; 0 is closed
	trialMS  int64 // when the call began that tries a half-open circuit
}

func (s state) json() string {
	return `{"failures":` + itoa(s.failures) + `,"opened_ms":` + itoa(s.openedMS) + `,"trial_ms":` + itoa(s.trialMS) + `}`
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// load reads a circuit.
func (b *breaker) load() (state, error) {
	reply, err := hexdag.NewCall("memory.get").String("/key", b.key).Do()
	if err != nil {
		return state{}, err
	}
	return state{reply.Int("/value/failures", 0), reply.Int("/value/opened_ms", 0), reply.Int("/value/trial_ms", 0)}, nil
}

// swap changes a circuit if it is still as it was, and reports whether it was. A
// closed circuit may have no value, or that of the zero state.
func (b *breaker) swap(old, s state) (bool, error) {
	swapped, err := b.swapFrom(old.json(), s)
	if swapped || err != nil || old != (state{}) {
		return swapped, err
	}
	return b.swapFrom("", s)
}

func (b *breaker) swapFrom(expected string, s state) (bool, error) {
	call := hexdag.NewCall("memory.compare_and_swap").String("/key", b.key).JSON("/value", s.json())
	if expected != "" {
		call = call.JSON("/expected", expected)
	}
	reply, err := call.Do()
	return err == nil && reply.Bool("/swapped", false), err
}
