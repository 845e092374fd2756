package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestCron(t *testing.T) {
	for name, c := range map[string]struct {
		text, zone, after string
		want              []string
	}{
		"UTC":            {"30 6 * * 1-5", "", "2026-11-20T06:30:00Z", []string{"2026-11-23T06:30:00Z", "2026-11-24T06:30:00Z"}},
		"a zone":         {"0 9 * * *", "Asia/Kolkata", "2026-11-20T00:00:00Z", []string{"2026-11-20T03:30:00Z", "2026-11-21T03:30:00Z"}},
		"hours, by half": {"0 * * * *", "Asia/Kolkata", "2026-11-20T00:00:00Z", []string{"2026-11-20T00:30:00Z", "2026-11-20T01:30:00Z"}},
		"a leap year":    {"0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		"a macro":        {"@hourly", "", "2026-11-20T00:10:00Z", []string{"2026-11-20T01:00:00Z"}},
		// Berlin leaps from 02:00 to 03:00 on 2026-03-29, at 01:00 UTC.
		"leapt over":               {"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		"leapt over, and after":    {"0,30 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"}},
		"before and behind a leap": {"0 1,4 * * *", "Europe/Berlin", "2026-03-28T23:00:00Z", []string{"2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z"}},
		"hours over a leap":        {"0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
		"every other over a leap":  {"0 */2 * * *", "Europe/Berlin", "2026-03-28T22:00:00Z", []string{"2026-03-28T23:00:00Z", "2026-03-29T02:00:00Z"}},
		// It goes back from 03:00 to 02:00 on 2026-10-25, at 01:00 UTC.
		"twice on the clock":      {"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		"in the second of two":    {"30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", []string{"2026-10-26T01:30:00Z"}},
		"hours twice":             {"30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
		"minutes over going back": {"*/30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", []string{"2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:00:00Z"}},
		"at midnight":             {"30 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-06T04:00:00Z", "2026-09-07T03:30:00Z"}},
		"half an hour":            {"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", []string{"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			when, err := parseCron(c.text, c.zone)
			if err != nil {
				t.Fatal(err)
			}
			at, err := time.Parse(time.RFC3339, c.after)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				at = when.next(at)
				if got := at.UTC().Format(time.RFC3339); got != want {
					t.Fatalf("%s, want %s", got, want)
				}
			}
		})
	}
}

// Whatever the zone and the time, what comes next is later, and what comes between is nothing that was left out.
func TestCronGoesOn(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu", "Africa/Casablanca"} {
		for _, text := range []string{"*/15 * * * *", "30 2 * * *", "0 0 * * *", "0 */6 * * *", "15,45 1-3 * * 0"} {
			when, err := parseCron(text, zone)
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for at.Year() == 2026 {
				next := when.next(at)
				if !next.After(at) || next.Sub(at) > 8*24*time.Hour {
					t.Fatalf("%s in %s: %s comes behind %s", text, zone, next, at)
				}
				if between := when.next(at.Add(next.Sub(at) / 2)); between.Before(next) || when.open && !between.Equal(next) {
					t.Fatalf("%s in %s: %s comes between %s and %s", text, zone, between, at, next)
				}
				at = next
			}
		}
	}
}

func TestBadCron(t *testing.T) {
	for _, c := range [][3]string{
		{"", "", "it has five fields"}, {"* * * *", "", "it has five fields"}, {"* * * * * *", "", "it has five fields"}, {"61 * * * *", "", "61"}, {"@often", "", "@often"},
		{"0 0 31 2 *", "", "that time never comes"}, {"* * * * *", "Mars/Olympus", "there is no time zone Mars/Olympus"}, {"* * * * *", "Local", "there is no time zone Local"},
		{"* * * * *", "../../etc/passwd", "there is no time zone"}, {strings.Repeat("1,", 500) + "1 * * * *", "", "it has five fields"},
	} {
		_, err := parseCron(c[0], c[1])
		if kernel.CodeOf(err) != kernel.CodeArguments || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%q in %q: %v", c[0], c[1], err)
		}
	}
}
