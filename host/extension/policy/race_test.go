//go:build race

package policy_test

// underRace says that the tests run an order of magnitude slower.
const underRace = true
