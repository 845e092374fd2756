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
	at := record.Time
	if at == "" {
		at = now.UTC().Format(timeLayout)
	} else if err := validateTime(at); err != nil {
		return nil, err
	}
	if err := validate(record); err != nil {
		return nil, err
	}
	line, err := appendRecord(make([]byte, 0, 512), record, at)
	if err != nil {
		return nil, err
	}
	if len(line) >= maxRecord {
		return nil, fmt.Errorf("the record has %d bytes, the limit is %d", len(line), maxRecord-1)
	}
	return append(line, '\n'), nil
}

// appendRecord appends what json.Marshal makes of a record at a time: by hand, because every decision has one, and every call.
func appendRecord(dst []byte, r *kernel.AuditRecord, at string) ([]byte, error) {
	o := kernel.NewObject(dst)
	o.String("time", at)
	o.String("kind", r.Kind)
	o.Some("run_id", r.RunID)
	o.Some("tenant", r.Tenant)
	o.Some("principal", r.Principal)
	o.Strings("chain", r.Chain)
	o.Some("node", r.Node)
	o.String("action", r.Action)
	o.Some("resource", r.Resource)
	o.Some("effect", string(r.Effect))
	if len(r.Reasons) > 0 {
		o.Reasons(r.Reasons)
	}
	o.Some("result", r.Result)
	o.Some("digest", r.Digest)
	o.Some("detail", r.Detail)
	o.Some("revision", r.Revision)
	o.Labels("labels", r.Labels)
	o.Strings("masked", r.Masked)
	o.Some("subject_type", r.SubjectType)
	if r.Context != nil {
		o.Value("context", r.Context)
	}
	if r.Args != nil {
		text, err := json.Marshal(*r.Args) // which sees to it that numbers are some
		if err != nil {
			return o.Text, err
		}
		o.Name("args")
		o.Text = append(o.Text, text...)
	}
	if len(r.Commitments) > 0 {
		commitments := make(map[string]any, len(r.Commitments))
		for pointer, commitment := range r.Commitments {
			commitments[pointer] = commitment
		}
		o.Value("commitments", commitments)
	}
	o.End()
	return o.Text, o.Err
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
