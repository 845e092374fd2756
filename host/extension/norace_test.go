//go:build !race

package extension_test

const raceDetector = false
