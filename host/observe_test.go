package host

import (
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

// The journal holds the same event, and writes it when it comes to it.
func TestQueueLeavesEventsAsTheyAre(t *testing.T) {
	var seen *Event
	q := startQueue(func(e *Event) { seen = e })
	q.dropped.Store(3)
	told := &Event{Type: kernel.PipelineCompleted, RunID: "r1"}
	q.put(told)
	q.stop()
	if told.Dropped != 0 {
		t.Errorf("the event of others is altered: %+v", told)
	}
	if seen == nil || seen.Dropped != 3 || seen.RunID != "r1" {
		t.Errorf("the observer saw %+v", seen)
	}
}
