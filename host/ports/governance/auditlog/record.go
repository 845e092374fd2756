package auditlog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	// timeLayout is RFC 3339 with all nine digits, so that times sort as text.
	timeLayout = "2006-01-02T15:04:05.000000000Z07:00"
	maxRecord  = 1 << 20
)

// encode returns the line of a record, with its line break.
func encode(record *kernel.AuditRecord, now time.Time) ([]byte, error) {
	r := *record
	if r.Time == "" {
		r.Time = now.UTC().Format(timeLayout)
	} else if err := validateTime(r.Time); err != nil {
		return nil, err
	}
	if err := validate(&r); err != nil {
		return nil, err
	}
	line, err := json.Marshal(&r)
	if err != nil {
		return nil, err
	}
	if len(line) >= maxRecord {
		return nil, fmt.Errorf("the record has %d bytes, the limit is %d", len(line), maxRecord-1)
	}
	return append(line, '\n'), nil
}

// decode reads a line that encode wrote, and nothing else.
func decode(line []byte) (*kernel.AuditRecord, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var r kernel.AuditRecord
	if err := dec.Decode(&r); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one JSON value on the line")
	}
	if err := validateTime(r.Time); err != nil {
		return nil, err
	}
	return &r, validate(&r)
}

func validate(r *kernel.AuditRecord) error {
	if r.Kind == "" || r.Action == "" {
		return errors.New("an audit record needs a kind and an action")
	}
	return nil
}

func validateTime(text string) error {
	if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
		return fmt.Errorf("the record's time: %w", err)
	}
	return nil
}

// What is wrong with a line.
var (
	errTorn = errors.New("the last line is cut")
	errLong = errors.New("the line is longer than any record")
)

// lineReader reads records' lines.
type lineReader struct {
	buf *bufio.Reader
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{buf: bufio.NewReaderSize(r, maxRecord)}
}

// next returns a line without its line break, valid until the next call. Its
// errors are io.EOF at the end, errTorn if the last line has no line break, and
// errLong, after which reading can go on.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.buf.ReadSlice('\n')
	switch {
	case err == nil:
		return line[:len(line)-1], nil
	case errors.Is(err, bufio.ErrBufferFull):
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = l.buf.ReadSlice('\n')
		}
		if err == nil {
			err = errLong
		}
	case errors.Is(err, io.EOF) && len(line) > 0:
		err = errTorn
	}
	return nil, err
}
