package main

import (
	"strings"
	"unicode/utf8"
)

// maxDigits is one more than the longest number that is looked for has.
const maxDigits = 20

// group is digits without a separator between them.
type group struct {
	digits int // how many
	end    int // where it ends in the text
}

// readGroups reads digits from i on, in groups with at most gap separators
// between two. What goes on behind maxDigits is left out, from its group on.
// Only an area code has more than two separators behind it: 030 / 1234567.
func readGroups(text string, i int, separators string, gap int) (digits []byte, groups []group) {
	for i < len(text) && isDigit(text[i]) {
		from := i
		for i < len(text) && isDigit(text[i]) {
			i++
		}
		if len(digits)+i-from > maxDigits {
			return digits, groups
		}
		digits = append(digits, text[from:i]...)
		groups = append(groups, group{i - from, i})
		if len(digits) > 5 {
			gap = min(gap, 2)
		}
		for range gap {
			r, size := utf8.DecodeRuneInString(text[i:])
			if size == 0 || !strings.ContainsRune(separators, r) {
				break
			}
			i += size
		}
	}
	return digits, groups
}

// Separators inside numbers. The spaces are the plain, the no-break, the thin and
// the narrow no-break one; the hyphens the plain and the no-break one.
const (
	spaces          = " \u00a0\u2009\u202f"
	hyphens         = "-\u2011"
	cardSeparators  = spaces + hyphens + "."
	phoneSeparators = cardSeparators + "/()"
)

// startsDigits reports whether a group of digits begins at i.
func startsDigits(text string, i int) bool {
	return isDigit(text[i]) && (i == 0 || !isDigit(text[i-1]))
}

// cardEnd returns the end of the payment card number that begins at i, or 0: 13
// to 19 digits with the right check digit. The first is 2 to 6, as on the cards
// of all worldwide schemes, so that times in milliseconds and many order numbers stay.
func cardEnd(text string, i int) int {
	if !startsDigits(text, i) || text[i] < '2' || text[i] > '6' {
		return 0
	}
	digits, groups := readGroups(text, i, cardSeparators, 1)
	for n := len(groups); n > 0; n-- {
		if len(digits) >= 13 && len(digits) <= 19 && luhn(digits) {
			return groups[n-1].end
		}
		digits = digits[:len(digits)-groups[n-1].digits]
	}
	return 0
}

// luhn checks the last digit as ISO/IEC 7812 lays down.
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			d *= 2
		}
		sum += d/10 + d%10
	}
	return sum%10 == 0
}

// ibanLengths is the register of ISO 13616: country and length.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27" +
	"GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MN20" +
	"MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29" +
	"VA22VG24XK20YE30"

func ibanLength(country string) int {
	for i := 0; i < len(ibanLengths); i += 4 {
		if ibanLengths[i:i+2] == country {
			return int(ibanLengths[i+2]-'0')*10 + int(ibanLengths[i+3]-'0')
		}
	}
	return 0
}

// ibanEnd returns the end of the international bank account number that begins
// at i, or 0: of its country's length, with the right check digits.
func ibanEnd(text string, i int) int {
	if i+4 > len(text) || !isASCIILetter(text[i]) || !isDigit(text[i+2]) || !isDigit(text[i+3]) || isASCIIWord(before(text, i)) {
		return 0
	}
	length := ibanLength(strings.ToUpper(text[i : i+2]))
	if length == 0 {
		return 0
	}
	number := make([]byte, 0, length)
	for len(number) < length {
		r, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case isASCIIWord(r):
			number = append(number, byte(r))
		case size == 0 || !strings.ContainsRune(cardSeparators, r) || !isASCIIWord(before(text, i)):
			return 0
		}
		i += size
	}
	if isASCIIWord(after(text, i)) || !mod97(number) {
		return 0
	}
	return i
}

// mod97 checks an IBAN: the first four characters moved to the end and letters
// read as 10 to 35, the remainder of the number is 1.
func mod97(number []byte) bool {
	rest := 0
	for i := range number {
		c := number[(i+4)%len(number)]
		if isDigit(c) {
			rest = (rest*10 + int(c-'0')) % 97
		} else {
			rest = (rest*100 + int(c|0x20-'a') + 10) % 97
		}
	}
	return rest == 1
}
