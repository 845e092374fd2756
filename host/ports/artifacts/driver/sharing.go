package driver

import (
	"context"
	"sync"
)

// Sharing is the Lock of a Bucket that knows of this process alone, and of others by what
// it is given. Waiting for another goroutine does not look at the context; those hold it for
// milliseconds. Its zero value is usable.
type Sharing struct {
	// Others keeps other processes apart; nil does not.
	Others func(ctx context.Context, exclusive bool) (unlock func(), err error)

	mu sync.RWMutex
}

// Lock implements Bucket.
func (s *Sharing) Lock(ctx context.Context, exclusive bool) (unlock func(), err error) {
	release := s.mu.RUnlock
	if exclusive {
		s.mu.Lock()
		release = s.mu.Unlock
	} else {
		s.mu.RLock()
	}
	err = ctx.Err()
	if err == nil && s.Others != nil {
		var others func()
		if others, err = s.Others(ctx, exclusive); err == nil {
			return func() { others(); release() }, nil
		}
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}
