package httpapi

import (
	"sync"

	"github.com/hexdag/hexdag/host"
)

// maxFeed is how many events of a run are kept for those who come later.
const maxFeed = 4096

// feed is what a run tells, for any number of listeners. It keeps the last events, and holds nobody up.
type feed struct {
	mu     sync.Mutex
	events []*host.Event // the first is number first
	first  int
	over   bool
	more   chan struct{} // closed when there is more
}

func newFeed() *feed { return &feed{first: 1, more: make(chan struct{})} }

func (f *feed) add(e *host.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.events) == maxFeed {
		f.events[0] = nil
		f.events = f.events[1:]
		f.first++
	}
	f.events = append(f.events, e)
	f.tell()
}

func (f *feed) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.tell()
}

func (f *feed) tell() {
	close(f.more)
	f.more = make(chan struct{})
}

// after returns the events behind number last, the number of the first of them, whether these are all that will come, and else what is
// closed when there are more.
func (f *feed) after(last int) (events []*host.Event, first int, over bool, more <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	first = max(last+1, f.first)
	if i := first - f.first; i < len(f.events) {
		events = append(events, f.events[i:]...)
	}
	return events, first, f.over, f.more
}
