//go:build race

package conform_test

// underRace is set where the race detector makes a guest ten times slower.
const underRace = true
