package main

import (
	"os"
	"runtime"
)

// slack is how many bytes a process that serves may use up on top of what it would, before the garbage collector runs.
const slack = 32 << 20

// collectSeldom has Go's collector run less often, until what it returns is called. By itself it runs whenever as much was used up as the process still
// needs: with 15 MiB, each few dozen calls of a tool. A block that nobody writes to is counted as needed, and takes no memory of the machine; so the process
// has at most slack more than it would, however large it becomes. Who has said how often the collector is to run is not contradicted.
func collectSeldom() (end func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	block := make([]byte, slack)
	return func() { runtime.KeepAlive(block) }
}
