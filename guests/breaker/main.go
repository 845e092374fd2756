// Command breaker is a hook around port calls that stops calling an operation that
// keeps failing. Its circuit is closed at first; after a number of failures in a row
// it opens, and calls are denied without being made. After a cool-down it is half
// open: one call is let through, and closes it again or opens it anew.
//
// Configuration, all of it optional:
//
//	failures     how many failures in a row open the circuit; 5
//	cooldown_ms  how long it stays open; 30000
//	name         circuits with different names are apart; "breaker"
//
// There is a circuit for each operation and tenant. It is kept in the memory port,
// under NAME/OPERATION, and changed by compare-and-swap alone, so all runs and
// processes that share the memory share it. Errors that are the caller's own - refused,
// wrong arguments, not found, a limit - are no failures.
//
// It fails closed: without its memory or its clock there is no call. It cannot hook
// the memory port, which it calls itself.
package main

import (
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/portafter"
	"github.com/hexdag/hexdag/guests/sdk/go/portbefore"
)

func init() {
	portbefore.Handle(before)
	portafter.Handle(after)
}

func main() {}

// before denies a call while the circuit is open.
func before(c *hexdag.PortCall) hexdag.Verdict {
	b, err := newBreaker(c.Op())
	if err != nil {
		return hexdag.Fail("breaker", err.Error())
	}
	now, err := hexdag.Now()
	if err != nil {
		return hexdag.Fail("breaker", "the clock: "+err.Error())
	}
	now /= 1e6
	s, err := b.load()
	switch {
	case err != nil:
		return hexdag.FailWith(err)
	case s.openedMS == 0:
		return hexdag.Continue()
	case now < s.openedMS+b.cooldownMS:
		return b.denied("it opened after " + itoa(s.failures) + " failures; the next try is in " + itoa(s.openedMS+b.cooldownMS-now) + " ms")
	case s.trialMS != 0 && now < s.trialMS+b.cooldownMS:
		return b.denied("it is half open, and another call tries")
	}
	trial := s
	trial.trialMS = now
	won, err := b.swap(s, trial)
	switch {
	case err != nil:
		return hexdag.FailWith(err)
	case !won:
		return b.denied("it is half open, and another call tries")
	}
	hexdag.Log(hexdag.LevelInfo, b.key+" is half open")
	return hexdag.Continue()
}

// after counts what became of a call.
func after(c *hexdag.PortCall) hexdag.Verdict {
	failed := isFailure(c.Problem().String("/code"))
	if c.Problem().Kind("") != hexdag.KindAbsent && !failed {
		return hexdag.Continue()
	}
	b, err := newBreaker(c.Op())
	if err != nil {
		return hexdag.Fail("breaker", err.Error())
	}
	const tries = 5 // against those who count at the same time
	for range tries {
		s, err := b.load()
		if err != nil {
			return hexdag.FailWith(err)
		}
		next, err := b.next(s, failed)
		if err != nil {
			return hexdag.Fail("breaker", "the clock: "+err.Error())
		}
		if next == s {
			return hexdag.Continue()
		}
		done, err := b.swap(s, next)
		if err != nil {
			return hexdag.FailWith(err)
		}
		if done {
			b.tell(s, next)
			return hexdag.Continue()
		}
	}
	hexdag.Log(hexdag.LevelWarn, b.key+": others changed it each time; this call is not counted")
	return hexdag.Continue()
}

// isFailure reports whether a code says that the port failed, and not its caller.
func isFailure(code string) bool {
	switch code {
	case "failed", "timeout", "port.unavailable", "retry", "internal", "module.trap", "module.abi":
		return true
	}
	return false
}

type breaker struct {
	key        string
	failures   int64
	cooldownMS int64
}

type configError string

func (e configError) Error() string { return string(e) }

func newBreaker(op string) (*breaker, error) {
	if strings.HasPrefix(op, "memory.") {
		return nil, configError("it cannot hook " + op + ", in which it keeps its circuits")
	}
	config := hexdag.Config()
	b := &breaker{failures: config.Int("/failures", 5), cooldownMS: config.Int("/cooldown_ms", 30_000)}
	if b.failures < 1 || b.cooldownMS < 1 {
		return nil, configError("config: failures and cooldown_ms are positive integers")
	}
	name := config.String("/name")
	if name == "" {
		name = "breaker"
	}
	b.key = name + "/" + op
	return b, nil
}

func (b *breaker) denied(why string) hexdag.Verdict {
	return hexdag.Deny("circuit_open", "the circuit "+b.key+" is open: "+why)
}

// next is the state after one more call.
func (b *breaker) next(s state, failed bool) (state, error) {
	if !failed {
		return state{}, nil
	}
	s.failures++
	if s.failures < b.failures && s.openedMS == 0 {
		return s, nil
	}
	now, err := hexdag.Now()
	s.openedMS, s.trialMS = now/1e6, 0
	return s, err
}

func (b *breaker) tell(old, s state) {
	switch {
	case s.openedMS != 0 && s.openedMS != old.openedMS:
		hexdag.Log(hexdag.LevelWarn, b.key+" opens after "+itoa(s.failures)+" failures")
	case s.openedMS == 0 && old.openedMS != 0:
		hexdag.Log(hexdag.LevelInfo, b.key+" is closed")
	}
}
