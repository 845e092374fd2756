// Command rate-limit is a hook before port calls that lets a number of calls
// through in a time, evenly, with a burst at once.
//
// Configuration:
//
//	calls   how many calls there may be ...
//	per_ms  ... in so many milliseconds; 60000
//	burst   how many of them at once; calls
//	wait    true: what is too early waits for its turn, at most 9 times; else it is denied
//	each    "tenant" or "principal": whose calls are counted together; "tenant"
//	name    limits with different names are apart; "rate"
//
// There is a limit for each operation. What it keeps is one number, when the calls so
// far would have ended at an even pace (the generic cell rate algorithm), in the memory
// port, changed by compare-and-swap alone. The memory port is what there is for that:
// a lock port is not part of this host yet. Where many change the number at the same
// time, a call that loses five times in a row is taken for one that is too early.
//
// It fails closed: without its memory or its clock there is no call. It cannot hook
// the memory port, which it calls itself.
package main

import (
	"strconv"
	"strings"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
	"github.com/hexdag/hexdag/guests/sdk/go/portbefore"
)

func init() { portbefore.Handle(limit) }

func main() {}

func limit(c *hexdag.PortCall) hexdag.Verdict {
	l, err := newLimiter(c)
	if err != nil {
		return hexdag.Fail("rate_limit", err.Error())
	}
	const tries = 5
	for range tries {
		waitUS, done, err := l.take()
		switch {
		case err != nil:
			return hexdag.FailWith(err)
		case waitUS > 0:
			return l.tooEarly(waitUS)
		case done:
			return hexdag.Continue()
		}
	}
	return l.tooEarly(l.intervalUS)
}

// limiter is a limit, in microseconds.
type limiter struct {
	key         string
	intervalUS  int64 // between calls at an even pace
	toleranceUS int64 // how far ahead of the pace calls may be
	wait        bool
}

type configError string

func (e configError) Error() string { return string(e) }

func newLimiter(c *hexdag.PortCall) (*limiter, error) {
	op, config := c.Op(), hexdag.Config()
	calls, perMS := config.Int("/calls", 0), config.Int("/per_ms", 60_000)
	burst := config.Int("/burst", calls)
	const most = 1_000_000_000
	switch {
	case strings.HasPrefix(op, "memory."):
		return nil, configError("it cannot hook " + op + ", in which it keeps its limits")
	case calls < 1 || perMS < 1 || burst < 1 || calls > most || perMS > most || burst > calls:
		return nil, configError("config: calls and per_ms are positive integers, burst is one up to calls")
	}
	l := &limiter{key: config.String("/name"), intervalUS: max(1, perMS*1000/calls), wait: config.Bool("/wait", false)}
	l.toleranceUS = l.intervalUS * (burst - 1)
	if l.key == "" {
		l.key = "rate"
	}
	l.key += "/" + op
	switch each := config.String("/each"); each {
	case "", "tenant":
	case "principal":
		l.key += "/" + c.Run().String("/principal")
	default:
		return nil, configError("config: each is tenant or principal")
	}
	return l, nil
}

// take takes a place. waitUS is how long to wait where it is too early; not done
// means that another call came between.
func (l *limiter) take() (waitUS int64, done bool, err error) {
	now, err := hexdag.Now()
	if err != nil {
		return 0, false, err
	}
	now /= 1000
	reply, err := hexdag.NewCall("memory.get").String("/key", l.key).Do()
	if err != nil {
		return 0, false, err
	}
	found, old := reply.Bool("/found", false), reply.Raw("/value")
	paced := max(now, reply.Int("/value", 0))
	if ahead := paced - now; ahead > l.toleranceUS {
		return ahead - l.toleranceUS, false, nil
	}
	// Once all that was taken is behind, no number is as good as this one.
	ttl := (l.toleranceUS+l.intervalUS)/1_000_000 + 1
	call := hexdag.NewCall("memory.compare_and_swap").String("/key", l.key).Int("/value", paced+l.intervalUS).Int("/ttl", ttl)
	if found {
		call = call.JSON("/expected", old)
	}
	reply, err = call.Do()
	return 0, err == nil && reply.Bool("/swapped", false), err
}

func (l *limiter) tooEarly(waitUS int64) hexdag.Verdict {
	ms := min((waitUS+999)/1000, 3_600_000)
	if l.wait {
		return hexdag.RetryAfter(uint32(ms))
	}
	return hexdag.Deny("rate_limited", "the limit "+l.key+" is reached: the next call may be made in "+strconv.FormatInt(ms, 10)+" ms")
}
