package template

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

// The bounds of what is parsed.
const (
	maxSource     = 256 << 10 // bytes of a template
	maxExpression = 8 << 10   // bytes of an expression
	maxNesting    = 32        // of tags, and of filters' arguments
	maxFilters    = 32        // filters and tests in an expression
)

// limits bound one rendering.
type limits struct {
	output     int           // bytes
	iterations int           // of all loops together
	work       int           // a name is one, another expression or a filter 25
	stored     int           // bytes of what set and for keep, over all
	time       time.Duration // the last resort: expressions can be long within their own limits
}

const expressionWork = 25

// standard is what Render allows.
var standard = limits{output: 1 << 20, iterations: 10_000, work: 100_000, stored: 16 << 20, time: 5 * time.Second}

// grouped writes n as 1,234,567.
func grouped(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func beyond(what string, n, most int, fix string) *kernel.Error {
	return &kernel.Error{Code: kernel.CodeLimit, What: fmt.Sprintf(what, grouped(n)), Why: "the limit is " + grouped(most), Fix: fix}
}

// position names a place in a template as people count: from 1, in characters.
func position(source string, at int) string {
	at = min(at, len(source))
	line := strings.Count(source[:at], "\n") + 1
	column := utf8.RuneCountInString(source[strings.LastIndexByte(source[:at], '\n')+1:at]) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

// wrong is an error at a place of the template.
func wrong(source string, at int, why, fix string) *kernel.Error {
	return &kernel.Error{Code: kernel.CodePipeline, What: "the template is wrong at " + position(source, at), Why: why, Fix: fix}
}

// at says of an error where in the template it is.
func at(source string, offset int, e *kernel.Error) *kernel.Error {
	placed := *e
	placed.What += " at " + position(source, offset)
	return &placed
}
