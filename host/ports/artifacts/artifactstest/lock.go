package artifactstest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
)

func testLock(t *testing.T, b driver.Bucket) {
	first, err := b.Lock(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Lock(t.Context(), false) // shares
	if err != nil {
		t.Fatal(err)
	}
	second()
	first()

	var holders, exclusive atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				alone := i%4 == 0
				unlock, err := b.Lock(t.Context(), alone)
				if err != nil {
					t.Error(err)
					return
				}
				n := holders.Add(1)
				if alone {
					exclusive.Add(1)
				}
				if x := exclusive.Load(); x > 1 || x == 1 && !alone || alone && n != 1 {
					t.Errorf("%d holders, %d of them alone", n, x)
				}
				if alone {
					exclusive.Add(-1)
				}
				holders.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
}

func testLockGivesUp(t *testing.T, b driver.Bucket) {
	ctx, cancel := context.WithCancel(t.Context())
	unlock, err := b.Lock(ctx, true)
	if err != nil {
		t.Fatal(err)
	}
	cancel() // does not take back what is held
	ended := make(chan error, 1)
	go func() {
		unlock, err := b.Lock(ctx, true)
		if err == nil {
			unlock()
		}
		ended <- err
	}()
	unlock()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a lock for an ended context: %v", err)
	}
	unlock, err = b.Lock(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
