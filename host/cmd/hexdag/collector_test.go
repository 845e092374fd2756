package main

import (
	"runtime"
	"testing"
)

// TestCollectSeldom: the collector waits for more while a server serves, unless somebody has said when it is to run.
func TestCollectSeldom(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "")
	t.Setenv("GOGC", "50")
	without := nextCollection()
	if with := whileServing(); with > without+slack {
		t.Errorf("the collector waits for %d bytes instead of %d, although GOGC is set", with, without)
	}
	t.Setenv("GOGC", "")
	with := whileServing()
	if with < without+slack {
		t.Errorf("the collector waits for %d bytes, as before for %d", with, without)
	}
	if after := nextCollection(); after > with-slack {
		t.Errorf("the collector waits for %d bytes still, after %d", after, with)
	}
}

func whileServing() uint64 {
	defer collectSeldom()()
	return nextCollection()
}

// nextCollection is the size of the heap at which the collector runs next.
func nextCollection() uint64 {
	for range 3 { // what pools hold, and what is only let go of by a finalizer, goes with a later one
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.NextGC
}
