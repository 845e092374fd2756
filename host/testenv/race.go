//go:build race

package testenv

// Race is whether the tests run under the race detector, which makes the host five to
// ten times slower.
const Race = true
