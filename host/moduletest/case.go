package moduletest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
)

// Suffix ends the names of cases' files.
const Suffix = ".case.json"

// maxCaseBytes bounds what is read of a case: documents of a call have limits, too.
const maxCaseBytes = 64 << 20

// Case is one call of a module and what has to come of it; see the package.
type Case struct {
	File string `json:"-"`

	Description string         `json:"description,omitempty"`
	Point       abi.Point      `json:"point"`
	Input       map[string]any `json:"input"`
	Text        string         `json:"body,omitempty"`
	Bytes       []byte         `json:"body_base64,omitempty"`
	Config      any            `json:"config,omitempty"`
	Started     *time.Time     `json:"started,omitempty"` // of the run; without it, the first of Clock
	Clock       []time.Time    `json:"clock,omitempty"`
	Random      []byte         `json:"random_base64,omitempty"`
	Calls       []Call         `json:"calls,omitempty"`
	Expect      Expect         `json:"expect"`
}

// Call is a call that the module has to make, and what it is answered.
type Call struct {
	Op         string         `json:"op"`
	Args       map[string]any `json:"args,omitempty"`
	Text       string         `json:"body,omitempty"`
	Bytes      []byte         `json:"body_base64,omitempty"`
	Reply      any            `json:"reply,omitempty"`
	ReplyText  string         `json:"reply_body,omitempty"`
	ReplyBytes []byte         `json:"reply_body_base64,omitempty"`
	Error      *Problem       `json:"error,omitempty"`
}

// Problem is an error that a call is answered with.
type Problem struct {
	Code    kernel.Code `json:"code"`
	Message string      `json:"message,omitempty"`
	RetryMS int64       `json:"retry_ms,omitempty"`
}

// Expect is what has to come of the call. What is left out is not compared.
type Expect struct {
	Verdict string          `json:"verdict,omitempty"`
	RetryMS *uint32         `json:"retry_ms,omitempty"`
	Patched json.RawMessage `json:"patched,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
	Text    *string         `json:"body,omitempty"`
	Bytes   []byte          `json:"body_base64,omitempty"`
	Says    string          `json:"says,omitempty"`
	Log     *[]string       `json:"log,omitempty"`
	MaxFuel int64           `json:"max_fuel,omitempty"`
	Error   kernel.Code     `json:"error,omitempty"`
}

// Name is the name of the case's file, without its suffix.
func (c *Case) Name() string { return strings.TrimSuffix(filepath.Base(c.File), Suffix) }

// Read reads a case.
func Read(file string) (*Case, error) {
	refuse := func(err error) error {
		return &kernel.Error{Code: kernel.CodeInput, What: "the case cannot be used", Where: kernel.Where{File: file}, Why: kernel.Quote(err.Error()), Fix: "mend it; 'hexdag module call ... --record FILE' writes one to begin with", Err: err}
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, refuse(err)
	}
	if info.Size() > maxCaseBytes {
		return nil, refuse(fmt.Errorf("it has %d bytes, the limit is %d", info.Size(), maxCaseBytes))
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, refuse(err)
	}
	if _, err := kernel.DecodeJSON(text); err != nil {
		return nil, refuse(err)
	}
	c := &Case{File: file}
	if err := kernel.UnmarshalStrict(text, c); err != nil {
		return nil, refuse(err)
	}
	if err := c.check(); err != nil {
		return nil, refuse(err)
	}
	return c, nil
}

// check refuses what would be a case that can never pass, or never fail.
func (c *Case) check() error {
	points := abi.Points()
	switch {
	case !slices.Contains(points, c.Point):
		names := make([]string, len(points))
		for i, p := range points {
			names[i] = string(p)
		}
		return fmt.Errorf("there is no extension point %q; %s", c.Point, kernel.DidYouMean(string(c.Point), names))
	case (c.Expect.Verdict == "") == (c.Expect.Error == ""):
		return fmt.Errorf("expect has to name a verdict, or else the code of an error")
	case c.Expect.Verdict != "" && !slices.Contains(verdicts(), c.Expect.Verdict):
		return fmt.Errorf("there is no verdict %q; %s", c.Expect.Verdict, kernel.DidYouMean(c.Expect.Verdict, verdicts()))
	}
	for i, call := range c.Calls {
		if call.Op == "" {
			return fmt.Errorf("calls[%d] names no op", i)
		}
		if call.Error != nil && (call.Reply != nil || call.ReplyText != "" || call.ReplyBytes != nil) {
			return fmt.Errorf("calls[%d] has both a reply and an error", i)
		}
	}
	return nil
}

func verdicts() []string {
	var names []string
	for v := abi.Continue; v <= abi.Error; v++ {
		names = append(names, v.String())
	}
	return names
}

// Find returns the cases beside a module: those in dir, by name. None is an error,
// for a test of nothing would pass.
func Find(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+Suffix))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, &kernel.Error{Code: kernel.CodeInput, What: "there are no cases", Where: kernel.Where{File: dir}, Why: "no name of a file ends in " + Suffix,
			Fix: "record one: hexdag module call FILE.wasm POINT --input JSON --record " + filepath.Join(dir, "first"+Suffix)}
	}
	cases := make([]*Case, len(files))
	for i, file := range files {
		if cases[i], err = Read(file); err != nil {
			return nil, err
		}
	}
	return cases, nil
}

func escapeGlob(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Write writes a case to its file, which must not be there yet.
func (c *Case) Write() error {
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the case cannot be written as JSON", Why: kernel.Quote(err.Error()), Err: err}
	}
	f, err := os.OpenFile(c.File, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(append(text, '\n'))
		if closeErr := f.Close(); err == nil {
			err = closeErr
		}
	}
	if err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the case cannot be written", Where: kernel.Where{File: c.File}, Why: err.Error(), Fix: "name a file that is not there, in a folder that is", Err: err}
	}
	return nil
}

// raw is a body, given as text or as bytes.
func raw(text string, bytes []byte) []byte {
	if text != "" {
		return []byte(text)
	}
	return bytes
}

// words is the inverse of raw.
func words(b []byte) (text string, bytes []byte) {
	if utf8.Valid(b) {
		return string(b), nil
	}
	return "", b
}
