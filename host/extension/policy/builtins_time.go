package policy

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database
)

var errTime = errors.New("time out of range")

func timeNow(now time.Time, _ []any) (any, error) { return nanoseconds(now) }

func timeParseRFC3339(args []any) (any, error) {
	text, ok := args[0].(string)
	if !ok {
		return nil, errOperand
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, err
	}
	return nanoseconds(t)
}

// nanoseconds returns t since 1970, if it is between 1677 and 2262, where an
// int64 holds it.
func nanoseconds(t time.Time) (any, error) {
	n := t.UnixNano()
	if !time.Unix(0, n).Equal(t) {
		return nil, errTime
	}
	return number(n), nil
}

// timeParseDuration is time.ParseDuration with days, weeks and years of 365 days.
func timeParseDuration(args []any) (any, error) {
	text, ok := args[0].(string)
	if !ok {
		return nil, errOperand
	}
	hours := map[byte]float64{'d': 24, 'w': 7 * 24, 'y': 365 * 24}
	var plain strings.Builder
	start := 0 // of the digits
	for i := range len(text) {
		c := text[i]
		if c >= '0' && c <= '9' || c == '.' {
			continue
		}
		if perUnit, ok := hours[c]; ok {
			n, err := strconv.ParseFloat(text[start:i], 64)
			if err != nil {
				return nil, err
			}
			plain.WriteString(strconv.FormatFloat(n*perUnit, 'f', -1, 64) + "h")
		} else {
			plain.WriteString(text[start : i+1])
		}
		start = i + 1
	}
	d, err := time.ParseDuration(plain.String() + text[start:])
	if err != nil {
		return nil, err
	}
	return number(int64(d)), nil
}

func timeDate(args []any) (any, error) {
	t, err := timeOperand(args[0])
	if err != nil {
		return nil, err
	}
	year, month, day := t.Date()
	return []any{number(int64(year)), number(int64(month)), number(int64(day))}, nil
}

func timeClock(args []any) (any, error) {
	t, err := timeOperand(args[0])
	if err != nil {
		return nil, err
	}
	hour, minute, second := t.Clock()
	return []any{number(int64(hour)), number(int64(minute)), number(int64(second))}, nil
}

func timeWeekday(args []any) (any, error) {
	t, err := timeOperand(args[0])
	if err != nil {
		return nil, err
	}
	return t.Weekday().String(), nil
}

func timeAddDate(args []any) (any, error) {
	t, err := timeOperand(args[0])
	if err != nil {
		return nil, err
	}
	var n [3]int
	for i := range n {
		v, ok := args[i+1].(json.Number)
		if !ok {
			return nil, errOperand
		}
		if n[i], err = strconv.Atoi(string(v)); err != nil {
			return nil, err
		}
	}
	return nanoseconds(t.AddDate(n[0], n[1], n[2]))
}

// timeOperand reads nanoseconds, or an array of them and a time zone's name. The
// zone "Local" is not offered, as it differs between machines.
func timeOperand(v any) (time.Time, error) {
	zone := time.UTC
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			return time.Time{}, errOperand
		}
		if len(list) > 1 {
			name, ok := list[1].(string)
			if !ok || name == "Local" {
				return time.Time{}, errOperand
			}
			var err error
			if zone, err = time.LoadLocation(name); err != nil {
				return time.Time{}, err
			}
		}
		v = list[0]
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, errOperand
	}
	f, _, err := new(big.Float).SetPrec(floatPrecision).Parse(string(n), 10)
	if err != nil {
		return time.Time{}, err
	}
	ns, accuracy := f.Int64()
	if accuracy != big.Exact {
		return time.Time{}, errTime
	}
	return time.Unix(0, ns).In(zone), nil
}
