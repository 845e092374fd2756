package host

import (
	"testing"
	"time"
)

// No minute has more than may begin in one, wherever it starts.
func TestPace(t *testing.T) {
	p := &pace{most: 3}
	start := time.Now()
	var at []time.Time
	for i := range 10 {
		at = append(at, p.next(start.Add(time.Duration(i)*time.Second)))
	}
	for i := 3; i < len(at); i++ {
		if gap := at[i].Sub(at[i-3]); gap < time.Minute {
			t.Errorf("%d begins %s after the third before it", i, gap)
		}
	}
	if at[2] != start.Add(2*time.Second) || at[9] != start.Add(3*time.Minute) {
		t.Errorf("%v", at)
	}
	late := start.Add(time.Hour)
	if got := p.next(late); got != late || len(p.begun) != 1 {
		t.Errorf("an hour later, %s after; %d are remembered", got.Sub(late), len(p.begun))
	}
	p.next(late)
	p.next(late)
	waits := p.next(late)
	p.giveBack(waits)
	if again := p.next(late); again != waits {
		t.Errorf("the place that was given back is lost: %s", again.Sub(late))
	}
}
