package scheduler

import (
	"strings"
	"time"
	_ "time/tzdata" // zones where the machine has none

	"github.com/hashicorp/cronexpr"

	"github.com/hexdag/hexdag/host/kernel"
)

// cron is when a cron expression comes in a zone.
//
// # Daylight saving time
//
// An expression whose hour is open (* or */n) goes by the time that passes: it comes as often in the hour that is there twice as in any
// other. One that names hours comes once for each time on the clock: in the hour that is there twice the first time, and, for a time that
// the clock leaps over, as soon as it has.
type cron struct {
	expression *cronexpr.Expression
	open       bool
	zone       *time.Location
}

// maxCron is how many bytes an expression may have.
const maxCron = 256

func parseCron(text, zone string) (*cron, error) {
	bad := func(why, fix string) (*cron, error) {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "the cron expression " + kernel.Quote(text) + " cannot be used", Why: why, Fix: fix}
	}
	if zone == "" {
		zone = "UTC"
	}
	location, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return nil, &kernel.Error{Code: kernel.CodeArguments, What: "there is no time zone " + kernel.Quote(zone), Fix: "write a name such as Europe/Berlin; UTC if it is left out"}
	}
	fields := strings.Fields(text)
	const shape = "write minute hour day month weekday, such as 30 6 * * 1-5, or @hourly, @daily, @weekly, @monthly or @yearly"
	macro := len(fields) == 1 && strings.HasPrefix(text, "@")
	if len(text) > maxCron || !macro && len(fields) != 5 {
		return bad("it has five fields", shape)
	}
	expression, err := cronexpr.Parse(text)
	if err != nil {
		return bad(kernel.Quote(err.Error()), shape)
	}
	c := &cron{expression: expression, zone: location, open: text == "@hourly" || !macro && strings.HasPrefix(fields[1], "*")}
	if c.next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return bad("that time never comes", shape)
	}
	return c, nil
}

// next returns the first time behind another; zero is never.
func (c *cron) next(after time.Time) time.Time {
	if c.open {
		return c.nextPassing(after)
	}
	return c.nextOnClock(after)
}

// nextPassing looks in each stretch without a change of the clock by itself.
func (c *cron) nextPassing(after time.Time) time.Time {
	for range 1000 { // changes of the clock
		local := after.In(c.zone)
		name, offset := local.Zone()
		_, end := local.ZoneBounds()
		next := c.expression.Next(after.In(time.FixedZone(name, offset)))
		if next.IsZero() || end.IsZero() || next.Before(end) {
			return next
		}
		_, offset = end.Zone()
		first := end.In(time.FixedZone("", offset)).Add(-time.Nanosecond)
		if at := c.expression.Next(first); at.Equal(end) {
			return end
		}
		after = end
	}
	return time.Time{}
}

// nextOnClock goes through the times on the clock, as if it were UTC's.
func (c *cron) nextOnClock(after time.Time) time.Time {
	local := after.In(c.zone)
	clock := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
	for range 1000 {
		if clock = c.expression.Next(clock); clock.IsZero() {
			return clock
		}
		if at := c.first(clock); at.After(after) {
			return at
		}
	}
	return time.Time{}
}

// first returns the first instant at which the clock shows a time, or, if it leaps over it, at which it has.
func (c *cron) first(clock time.Time) time.Time {
	at := time.Date(clock.Year(), clock.Month(), clock.Day(), clock.Hour(), clock.Minute(), clock.Second(), 0, c.zone)
	start, end := at.ZoneBounds()
	shows := at.Hour() == clock.Hour() && at.Minute() == clock.Minute()
	switch {
	case !shows && !start.IsZero() && at.Sub(start) < 24*time.Hour:
		return start // time.Date took the offset before the leap
	case !shows:
		return end // or the one after it
	case start.IsZero():
		return at
	}
	// The same time on the clock, by the offset before the last change.
	_, now := at.Zone()
	_, before := start.Add(-time.Nanosecond).Zone()
	if earlier := at.Add(time.Duration(now-before) * time.Second); earlier.Before(start) && earlier.Before(at) {
		return earlier
	}
	return at
}
