package sandbox

import "time"

// Limits bounds one call of a guest. The zero value of a field means the default.
type Limits struct {
	Deadline  time.Duration // wall time of the call
	Fuel      int64         // instructions, and what else package rewrite and the imports charge
	Memory    uint64        // bytes of linear memory, rounded down to pages
	Document  int           // bytes of JSON text of any one document
	Body      int           // bytes of any one body
	HostCalls int           // calls of the import "call"
	BytesIn   int64         // what the host gives the guest
	BytesOut  int64         // what the guest gives the host
	LogLines  int
	LogLine   int // bytes
	Instances int // of the module at once, over all calls; further calls wait, but for those that guests make
	Waiting   int // calls that may wait for an instance; further ones are refused
}

// pageSize is the size of a page of WebAssembly memory.
const pageSize = 1 << 16

// maxPages keeps a memory one page short of 4 GiB: wazero 1.12 panics in the
// host where an address ends exactly there.
const maxPages = 1<<16 - 1

// DefaultLimits are the limits of a call for which nothing else is said.
func DefaultLimits() Limits {
	return Limits{
		Deadline:  time.Second,
		Fuel:      2_000_000_000,
		Memory:    64 << 20,
		Document:  1 << 20,
		Body:      16 << 20,
		HostCalls: 1000,
		BytesIn:   256 << 20,
		BytesOut:  256 << 20,
		LogLines:  256,
		LogLine:   8 << 10,
		Instances: 64,
		Waiting:   1024,
	}
}

// Or returns l with what is not set taken from d.
func (l Limits) Or(d Limits) Limits {
	or(&l.Deadline, d.Deadline)
	or(&l.Fuel, d.Fuel)
	or(&l.Memory, d.Memory)
	or(&l.Document, d.Document)
	or(&l.Body, d.Body)
	or(&l.HostCalls, d.HostCalls)
	or(&l.BytesIn, d.BytesIn)
	or(&l.BytesOut, d.BytesOut)
	or(&l.LogLines, d.LogLines)
	or(&l.LogLine, d.LogLine)
	or(&l.Instances, d.Instances)
	or(&l.Waiting, d.Waiting)
	return l
}

func or[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// pages returns the memory limit in pages.
func (l Limits) pages() uint32 { return uint32(min(l.Memory/pageSize, maxPages)) }
