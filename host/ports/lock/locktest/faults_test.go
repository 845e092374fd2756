package locktest

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
)

func recorded(t *testing.T, wrap func(driver.Store) driver.Store) *History {
	t.Helper()
	store := memlock.New()
	return Faults{Open: func(*testing.T, int) driver.Store { return wrap(store) }, TTL: 100 * time.Millisecond, For: 1500 * time.Millisecond}.record(t)
}

// A lock that works is found to work, also where the store's clock runs within the margin.
func TestMemory(t *testing.T) {
	for name, by := range map[string]float64{"as it is": 1, "a clock that runs fast": 1.05, "a clock that runs slow": 0.9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			history := recorded(t, func(s driver.Store) driver.Store { return Skewed(s, by) })
			if result := history.Check(true); result != porcupine.Ok {
				t.Errorf("the history is %s", result)
			}
			if leases, refused := history.acquires(); leases < 20 || refused == 0 {
				t.Errorf("%d leases, %d stale writes refused: too little was tested", leases, refused)
			}
		})
	}
}

// One that does not is caught, whichever way it is broken.
func TestBroken(t *testing.T) {
	var asked atomic.Uint64
	for name, wrap := range map[string]func(driver.Store) driver.Store{
		"two holders":                          func(s driver.Store) driver.Store { return generous{s, &asked} },
		"tokens that do not rise":              func(s driver.Store) driver.Store { return forgetful{s} },
		"a holder that thinks it holds longer": func(s driver.Store) driver.Store { return hopeful{s} },
		"a clock that runs too fast":           func(s driver.Store) driver.Store { return Skewed(s, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if result := recorded(t, wrap).Check(true); result != porcupine.Illegal {
				t.Errorf("the history is %s", result)
			}
		})
	}
}

// Where two hold a lock, tokens still protect what takes them.
func TestTokensOfSharedLocks(t *testing.T) {
	t.Parallel()
	history := recorded(t, func(s driver.Store) driver.Store { return Skewed(s, 3) })
	if result := history.Check(false); result != porcupine.Ok {
		t.Errorf("the history is %s", result)
	}
	history = recorded(t, func(s driver.Store) driver.Store { return forgetful{s} })
	if result := history.Check(false); result != porcupine.Illegal {
		t.Errorf("with tokens that do not rise the history is %s", result)
	}
}
