package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"sync"
)

// Text is a JSON object as AppendJSON writes it, and what identifies it: each is made when it is first asked for, once for all who ask.
// It is safe for concurrent use.
type Text struct {
	object map[string]any

	write sync.Once
	text  []byte
	err   error

	sum    sync.Once
	digest string
}

// NewText returns the text of an object.
func NewText(object map[string]any) *Text { return &Text{object: object} }

// Written returns the text of an object by whoever has it already, as AppendJSON writes it.
func Written(object map[string]any, text []byte) *Text {
	t := &Text{object: object, text: text}
	t.write.Do(func() {})
	return t
}

// For returns t where it is of that very object, or else the text of object: a text cannot outlive the arguments that it is of.
// t may be nil.
func (t *Text) For(object map[string]any) *Text {
	if t != nil && reflect.ValueOf(t.object).UnsafePointer() == reflect.ValueOf(object).UnsafePointer() {
		return t
	}
	return NewText(object)
}

// JSON returns the text, which is not to be changed; an error where the object holds what JSON has not.
func (t *Text) JSON() ([]byte, error) {
	t.write.Do(func() { t.text, t.err = AppendJSON(nil, t.object) })
	return t.text, t.err
}

// Digest returns "sha256:" and the hash of the text in hex, or "" where there is no text.
func (t *Text) Digest() string {
	t.sum.Do(func() {
		if text, err := t.JSON(); err == nil {
			hash := sha256.Sum256(text)
			t.digest = "sha256:" + hex.EncodeToString(hash[:])
		}
	})
	return t.digest
}
