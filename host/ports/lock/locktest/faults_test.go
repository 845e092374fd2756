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

// broken is what the histories of a lock that does not work are found to be. Whether one shows it is up to chance.
func broken(t *testing.T, wrap func(driver.Store) driver.Store, exclusive bool) (result porcupine.CheckResult) {
	t.Helper()
	for range 20 {
		if result = recorded(t, wrap).Check(exclusive); result == porcupine.Illegal {
			break
		}
	}
	return result
}

// A lock that works is found to work, also where the store's clock runs within the margin.
func TestMemory(t *testing.T) {
	for name, by := range map[string]float64{"as it is": 1, "a clock that runs fast": 1.05, "a clock that runs slow": 0.9} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leases, refused := 0, 0
			for range 20 { // how often a holder is late is up to chance
				history := recorded(t, func(s driver.Store) driver.Store { return Skewed(s, by) })
				if result := history.Check(true); result != porcupine.Ok {
					t.Errorf("the history is %s", result)
				}
				held, stale := history.acquires()
				leases, refused = leases+held, refused+stale
				if leases >= 20 && refused > 0 {
					return
				}
			}
			t.Errorf("%d leases, %d stale writes refused: too little was tested", leases, refused)
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
			if result := broken(t, wrap, true); result != porcupine.Illegal {
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
	if result := broken(t, func(s driver.Store) driver.Store { return forgetful{s} }, false); result != porcupine.Illegal {
		t.Errorf("with tokens that do not rise the history is %s", result)
	}
}
