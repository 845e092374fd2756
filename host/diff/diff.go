// Package diff says how two contents differ, in the terms of what they are: JSON by paths,
// CSV by rows, images by pixels, text by lines, and everything else by bytes.
package diff

import (
	"bytes"
	"mime"
	"strings"
	"unicode/utf8"
)

// The limits of a comparison.
const (
	// MaxChanges is how many changes a report lists.
	MaxChanges = 1000
	// MaxText is how many bytes a text, a table or a JSON document may have to be
	// compared as one; larger ones are compared as bytes.
	MaxText = 16 << 20
	// MaxPixels is how many pixels an image may have to be compared as one.
	MaxPixels = 32_000_000
)

// Content is one side of a comparison.
type Content struct {
	Name string // shown; it may hold anything
	Type string // a media type, or "" where none is known
	Data []byte
}

// Kind is how two contents were compared.
type Kind string

// The kinds.
const (
	JSON  Kind = "json"
	CSV   Kind = "csv"
	Image Kind = "image"
	Text  Kind = "text"
	Bytes Kind = "bytes"
)

// Op is what happened to a part of the content.
type Op string

// The operations.
const (
	Added   Op = "added"
	Removed Op = "removed"
	Changed Op = "changed"
)

// Change is one difference of JSON documents or tables.
type Change struct {
	Op   Op     `json:"op"`
	Path string `json:"path"`          // a JSON pointer, or a row and its column
	Old  any    `json:"old,omitempty"` // of what was removed or changed
	New  any    `json:"new,omitempty"`
}

// Report is how two contents differ.
type Report struct {
	Kind    Kind     `json:"kind"`
	Equal   bool     `json:"equal"` // byte for byte
	Changes []Change `json:"changes,omitempty"`
	Left    int      `json:"left_out,omitempty"` // changes beyond MaxChanges
	Unified string   `json:"unified,omitempty"`  // of texts: the unified diff
	Pixels  *Pixels  `json:"pixels,omitempty"`   // of images
	Sizes   [2]int   `json:"sizes"`              // in bytes
	First   int      `json:"first,omitempty"`    // of bytes: the offset of the first difference
	Note    string   `json:"note,omitempty"`     // why they were not compared as what they are called
}

// Of compares two contents. Where both are of one kind they are compared as that;
// content that is not what its type says is compared as text or bytes, with a note.
func Of(before, after Content) *Report {
	r := &Report{Equal: bytes.Equal(before.Data, after.Data), Sizes: [2]int{len(before.Data), len(after.Data)}}
	kind := kindOf(before)
	if other := kindOf(after); other != kind {
		r.Note = "the one is " + string(kind) + ", the other " + string(other)
		kind = Bytes
		if isText(before.Data) && isText(after.Data) {
			kind = Text
		}
	}
	compare := map[Kind]func(r *Report, before, after Content) error{JSON: compareJSON, CSV: compareCSV, Image: compareImages, Text: compareText, Bytes: compareBytes}
	for {
		r.Kind = kind
		err := compare[kind](r, before, after)
		if err == nil {
			return r
		}
		r.Note = err.Error()
		if kind = Bytes; r.Kind != Text && isText(before.Data) && isText(after.Data) {
			kind = Text
		}
	}
}

// kindOf says what a content is by its type, and by its bytes where it has none.
func kindOf(c Content) Kind {
	mediaType, _, err := mime.ParseMediaType(c.Type)
	switch {
	case err != nil || mediaType == "application/octet-stream":
	case mediaType == "application/json" || strings.HasSuffix(mediaType, "+json"):
		return JSON
	case mediaType == "text/csv":
		return CSV
	case mediaType == "image/png" || mediaType == "image/jpeg" || mediaType == "image/gif":
		return Image
	}
	if isText(c.Data) {
		return Text
	}
	return Bytes
}

func isText(data []byte) bool {
	return len(data) <= MaxText && utf8.Valid(data) && bytes.IndexByte(data, 0) < 0
}

func compareBytes(r *Report, before, after Content) error {
	n := min(len(before.Data), len(after.Data))
	r.First = n
	for i := range n {
		if before.Data[i] != after.Data[i] {
			r.First = i
			break
		}
	}
	return nil
}

// add notes a change, up to the limit.
func (r *Report) add(c Change) {
	if len(r.Changes) == MaxChanges {
		r.Left++
		return
	}
	r.Changes = append(r.Changes, c)
}
