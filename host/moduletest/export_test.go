package moduletest

// RaceDetector is whether the tests run with it: a Go guest then takes the compiler
// ten times as long.
const RaceDetector = raceDetector
