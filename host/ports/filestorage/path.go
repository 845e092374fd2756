package filestorage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	maxPath    = 1 << 10 // what the door matches against patterns
	maxSegment = 255
	maxPage    = 4 << 10
)

// forbidden are characters that some system gives a meaning of its own.
const forbidden = `\:*?"<>|`

// CheckPath returns a CodeArguments error for a text that is no path.
func CheckPath(path string) error {
	if why := pathProblem(path); why != "" {
		return &kernel.Error{Code: kernel.CodeArguments, What: "file_storage: " + kernel.Quote(path) + " is no path", Why: why, Fix: "write it as in reports/2026/may.csv"}
	}
	return nil
}

// checkPrefix is CheckPath for the beginning of one: its last segment may be cut anywhere.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if why := pathProblem(prefix + "x"); why != "" {
		return &kernel.Error{Code: kernel.CodeArguments, What: "file_storage: no path begins with " + kernel.Quote(prefix), Why: why, Fix: "write it as in reports/2026/"}
	}
	return nil
}

func pathProblem(path string) string {
	switch {
	case path == "":
		return "it is empty"
	case len(path) > maxPath:
		return fmt.Sprintf("it has %d bytes, the limit is %d", len(path), maxPath)
	case !utf8.ValidString(path) || !norm.NFC.IsNormalString(path):
		return "it is not valid UTF-8 in the form NFC"
	case strings.HasPrefix(path, "/"):
		return "it begins with a slash"
	}
	for _, r := range path {
		if !unicode.IsPrint(r) || strings.ContainsRune(forbidden, r) {
			return "its characters are printable, and none of " + forbidden
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		switch {
		case segment == "":
			return "one of its segments is empty"
		case segment[0] == '.':
			return "a segment of it begins with a point"
		case strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " ") || segment[0] == ' ':
			return "a segment of it begins or ends with a space, or ends with a point"
		case len(segment) > maxSegment:
			return fmt.Sprintf("a segment of it has %d bytes, the limit is %d", len(segment), maxSegment)
		case reserved(segment):
			return "a segment of it is the name of a device"
		}
	}
	return ""
}

// reserved reports whether Windows takes a name for a device, whatever follows the first point.
func reserved(segment string) bool {
	name, _, _ := strings.Cut(strings.ToUpper(segment), ".")
	name = strings.TrimRight(name, " ")
	switch name {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	if rest, ok := strings.CutPrefix(name, "COM"); ok || strings.HasPrefix(name, "LPT") {
		if !ok {
			rest = name[len("LPT"):]
		}
		return utf8.RuneCountInString(rest) == 1 && strings.ContainsAny(rest, "0123456789¹²³")
	}
	return false
}
