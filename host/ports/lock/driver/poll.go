package driver

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// The delays between attempts of Poll.
const (
	firstDelay = 2 * time.Millisecond
	lastDelay  = 250 * time.Millisecond
)

// Poll tries until there is another error than ErrHeld, or the context ends: at once
// when woken (wake may be nil), when the HeldError says that a permit ends, and else after delays that grow and are
// random, so that those who wait do not come together. Without r.Wait it tries once.
func Poll(ctx context.Context, r *Request, wake <-chan struct{}, try func(ctx context.Context) (Held, error)) (Held, error) {
	for delay := firstDelay; ; delay = min(2*delay, lastDelay) {
		held, err := try(ctx)
		if !r.Wait || !errors.Is(err, ErrHeld) {
			return held, err
		}
		pause := delay/2 + rand.N(delay)
		var known *HeldError
		if errors.As(err, &known) && known.After > 0 {
			pause = min(pause, known.After+time.Millisecond)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-wake:
			timer.Stop()
			delay = firstDelay
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}
