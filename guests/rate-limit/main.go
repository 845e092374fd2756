// Command rate-limit is a hook before port calls that lets a number of calls
// through in a time, with a burst at once.
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
// There is a limit for each operation: a semaphore of the lock port with as many permits as
// the burst. A call takes one and never gives it back; it ends by itself after the time in which the pace
// lets as many calls through as the burst has. So in no window of that time are there more, over all
// processes that share the lock port, and no clock but the port's has a say.
//
// It fails closed: without the lock port there is no call. It cannot hook the lock port, which
// it calls itself.
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
	waitMS, err := l.take()
	switch {
	case err != nil:
		return hexdag.FailWith(err)
	case waitMS == 0:
		return hexdag.Continue()
	}
	return l.tooEarly(waitMS)
}

// limiter is a limit: so many permits, each of which is taken for a time.
type limiter struct {
	name    string
	permits int64
	ttlMS   int64
	wait    bool
}

type configError string

func (e configError) Error() string { return string(e) }

// shortest is the shortest time for which the lock port gives a permit.
const shortest = 10

func newLimiter(c *hexdag.PortCall) (*limiter, error) {
	op, config := c.Op(), hexdag.Config()
	calls, perMS := config.Int("/calls", 0), config.Int("/per_ms", 60_000)
	burst := config.Int("/burst", calls)
	const most = 1_000_000_000
	switch {
	case strings.HasPrefix(op, "lock."):
		return nil, configError("it cannot hook " + op + ", in which it keeps its limits")
	case calls < 1 || perMS < 1 || burst < 1 || calls > most || perMS > most || burst > calls:
		return nil, configError("config: calls and per_ms are positive integers, burst is one up to calls")
	}
	l := &limiter{name: config.String("/name"), permits: burst, ttlMS: (burst*perMS + calls - 1) / calls, wait: config.Bool("/wait", false)}
	if l.ttlMS < shortest {
		return nil, configError("config: burst is too small for so many calls: it is to take at least 10 ms of the pace")
	}
	if l.name == "" {
		l.name = "rate"
	}
	l.name += "/" + op
	switch each := config.String("/each"); each {
	case "", "tenant":
	case "principal":
		l.name += "/" + c.Run().String("/principal")
	default:
		return nil, configError("config: each is tenant or principal")
	}
	return l, nil
}

// take takes a permit. waitMS is how long to wait where none is free.
func (l *limiter) take() (waitMS int64, err error) {
	reply, err := hexdag.NewCall("lock.acquire").String("/name", l.name).Int("/permits", l.permits).
		JSON("/ttl", seconds(l.ttlMS)).Int("/timeout", 0).Bool("/detached", true).Do()
	if err != nil || reply.Bool("/acquired", false) {
		return 0, err
	}
	return max(1, reply.Int("/retry_after_ms", l.ttlMS/l.permits)), nil
}

// seconds writes milliseconds as a number of seconds.
func seconds(ms int64) string {
	part := strings.TrimRight(strconv.FormatInt(1000+ms%1000, 10)[1:], "0")
	return strings.TrimSuffix(strconv.FormatInt(ms/1000, 10)+"."+part, ".")
}

func (l *limiter) tooEarly(waitMS int64) hexdag.Verdict {
	ms := min(waitMS, 3_600_000)
	if l.wait {
		return hexdag.RetryAfter(uint32(ms))
	}
	return hexdag.Deny("rate_limited", "the limit "+l.name+" is reached: the next call may be made in "+strconv.FormatInt(ms, 10)+" ms")
}
