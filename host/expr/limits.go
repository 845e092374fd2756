package expr

import "strconv"

// The limits. What an expression costs is counted, not timed, so that the same
// expression over the same data ends in the same way on every machine.
const (
	maxSource = 64 << 10 // bytes of an expression
	maxDepth  = 100      // how deep an expression nests
	maxNested = 256      // how deep a value nests
	maxSteps  = 250_000  // operations of one evaluation
	maxItems  = 100_000  // of a list, tuple, set, dict
	maxText   = 1 << 20  // bytes of a string that an expression makes
	maxBits   = 4096     // of an integer
	maxDigits = 1300     // of a number's text
	maxWidth  = 1000     // width and precision in a format
	maxResult = 8 << 20  // bytes of the result as JSON
	maxSpread = 2000     // a Decimal's exponent, up or down

	scanBytes  = 128 // of text that is read count as a step
	writeBytes = 16  // of text that is made count as a step
)

// fault is why an evaluation ended early.
type fault struct {
	at    int // the offset in the source, plus 1; 0 is unknown
	why   string
	fix   string
	limit bool
}

// place says where a fault happened, unless a deeper place is known already.
func (f *fault) place(at int) *fault {
	if f != nil && f.at == 0 {
		f.at = at + 1
	}
	return f
}

func wrong(why, fix string) *fault { return &fault{why: why, fix: fix} }

func beyond(what string, limit int, unit, fix string) *fault {
	return &fault{why: what + "; the limit is " + grouped(limit) + " " + unit, fix: fix, limit: true}
}

func tooLong(n int) *fault {
	return beyond("a string of "+grouped(n)+" bytes", maxText, "bytes", "make a shorter one; large texts belong into artifacts")
}

func tooMany(n int64) *fault {
	return beyond("a list of "+strconv.FormatInt(n, 10)+" items", maxItems, "items", "take fewer")
}

func tooBig() *fault {
	return beyond("an integer that is too big", maxBits, "bits", "use a smaller one, or a float: 2.0 ** 1000")
}

func tooDeep() *fault {
	return beyond("a value nests too deep", maxNested, "levels", "use a flatter one")
}

// spend counts n steps.
func (m *machine) spend(n int) *fault {
	m.steps -= n
	if m.steps < 0 || n < 0 {
		m.steps = -1
		return beyond("the expression takes too long", maxSteps, "steps", "loop over fewer items, or let a function node do it; a step is an operation, an item, or "+strconv.Itoa(writeBytes)+" bytes of text")
	}
	return nil
}

// scan counts the reading of n bytes.
func (m *machine) scan(n int) *fault { return m.spend(n / scanBytes) }

// write counts the making of a string of n bytes, before it is made.
func (m *machine) write(n int) *fault {
	if n > m.textLimit || n < 0 {
		return tooLong(n)
	}
	return m.spend(n / writeBytes)
}

// room counts the making of a collection of n items, before it is made.
func (m *machine) room(n int) *fault {
	if n > maxItems || n < 0 {
		return tooMany(int64(n))
	}
	return m.spend(n)
}

// grouped writes n as 1,234,567.
func grouped(n int) string {
	return string(groupDigits([]byte(strconv.Itoa(n)), ',', 3))
}
