package abi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"unicode/utf8"
)

// preamble opens every core WebAssembly binary: the magic number and version 1.
// A component has 0d 00 01 00 in the place of the version.
const preamble = "\x00asm\x01\x00\x00\x00"

const customSectionID = 0

// CustomSection is a named section of a WebAssembly binary that engines ignore.
// Payload is part of the binary, not a copy.
type CustomSection struct {
	Name    string
	Payload []byte
}

// CustomSections iterates over the custom sections of a core module, in order.
// It checks bounds only; an error ends the iteration.
func CustomSections(wasm []byte) iter.Seq2[CustomSection, error] {
	return func(yield func(CustomSection, error) bool) {
		rest, err := cutPreamble(wasm)
		for err == nil && len(rest) > 0 {
			var id byte
			var content []byte
			if id, content, rest, err = cutSection(rest); err != nil {
				break
			}
			if id != customSectionID {
				continue
			}
			name, payload, nameErr := cutBytes(content)
			if nameErr == nil && !utf8.Valid(name) {
				nameErr = errors.New("custom section's name is not UTF-8")
			}
			if err = nameErr; err == nil && !yield(CustomSection{Name: string(name), Payload: payload}, nil) {
				return
			}
		}
		if err != nil {
			yield(CustomSection{}, err)
		}
	}
}

// AppendCustomSection returns a copy of a core module with one more custom
// section at its end.
func AppendCustomSection(wasm []byte, name string, payload []byte) ([]byte, error) {
	if _, err := cutPreamble(wasm); err != nil {
		return nil, err
	}
	if !utf8.ValidString(name) {
		return nil, errors.New("custom section's name is not UTF-8")
	}
	content := binary.AppendUvarint(nil, uint64(len(name)))
	content = append(content, name...)
	content = append(content, payload...)

	out := make([]byte, 0, len(wasm)+len(content)+1+binary.MaxVarintLen32)
	out = append(out, wasm...)
	out = append(out, customSectionID)
	out = binary.AppendUvarint(out, uint64(len(content)))
	return append(out, content...), nil
}

// RemoveCustomSections returns a copy of a core module without the custom sections
// whose names drop picks. All else stays as it is.
func RemoveCustomSections(wasm []byte, drop func(name string) bool) ([]byte, error) {
	rest, err := cutPreamble(wasm)
	if err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(wasm)), preamble...)
	for len(rest) > 0 {
		whole := rest
		var id byte
		var content []byte
		if id, content, rest, err = cutSection(rest); err != nil {
			return nil, err
		}
		if id == customSectionID {
			name, _, err := cutBytes(content)
			if err != nil {
				return nil, err
			}
			if drop(string(name)) {
				continue
			}
		}
		out = append(out, whole[:len(whole)-len(rest)]...)
	}
	return out, nil
}

func cutPreamble(wasm []byte) ([]byte, error) {
	if len(wasm) < len(preamble) || string(wasm[:len(preamble)]) != preamble {
		return nil, errors.New("not a core WebAssembly module of version 1")
	}
	return wasm[len(preamble):], nil
}

// cutSection splits off the first section of b, which is not empty.
func cutSection(b []byte) (id byte, content, rest []byte, err error) {
	content, rest, err = cutBytes(b[1:])
	return b[0], content, rest, err
}

// cutBytes splits off a length and as many bytes.
func cutBytes(b []byte) (head, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > binary.MaxVarintLen32 {
		return nil, nil, errors.New("malformed length in the module")
	}
	b = b[size:]
	if n > uint64(len(b)) {
		return nil, nil, fmt.Errorf("the module is cut short: %d bytes announced, %d left", n, len(b))
	}
	return b[:n], b[n:], nil
}
