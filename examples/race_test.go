//go:build race

package examples_test

// race says that the race detector makes everything five times slower.
const race = true
