package driver_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// TestTraceOfEvent: an event's trace is in the two attributes that CloudEvents has for it, and comes back as it was.
func TestTraceOfEvent(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for trace, want := range map[string]string{
		"": "", parent: `"traceparent":"` + parent + `"`, parent + " a=1,b=2": `"traceparent":"` + parent + `","tracestate":"a=1,b=2"`,
	} {
		text, err := json.Marshal(&driver.Event{ID: "1", Source: "s", Type: "t", Topic: "a.b", Time: time.Now(), Trace: trace})
		if err != nil || !strings.Contains(string(text), want) || strings.Contains(string(text), "tracestate") != strings.Contains(trace, " ") {
			t.Errorf("%s, %v", text, err)
		}
		var again driver.Event
		if err := json.Unmarshal(text, &again); err != nil || again.Trace != trace {
			t.Errorf("%q, %v", again.Trace, err)
		}
	}
}
