package main

import (
	"strconv"
	"strings"
)

// money is a sum in hundredths of its currency, which no calculation rounds.
type money int64

// maxMoneyDigits keeps a sum, and its percentages, within an int64.
const maxMoneyDigits = 12

// parseMoney reads decimal text: digits and at most two decimals that are not zero.
func parseMoney(text string) (money, bool) {
	units, decimals, _ := strings.Cut(text, ".")
	decimals = strings.TrimRight(decimals, "0")
	if units == "" || len(units) > maxMoneyDigits || len(decimals) > 2 {
		return 0, false
	}
	n := money(0)
	for _, c := range units + (decimals + "00")[:2] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + money(c-'0')
	}
	return n, true
}

// String returns the sum with two decimals.
func (m money) String() string {
	cents := strconv.FormatInt(int64(m%100)+100, 10)
	return strconv.FormatInt(int64(m/100), 10) + "." + cents[1:]
}

// percent returns a part of the sum, rounded half up.
func (m money) percent(p int) money { return (m*money(p) + 50) / 100 }
