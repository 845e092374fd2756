//go:build race

package redteam

// slack is for the race detector, which makes the host ten times slower.
const slack = 10
