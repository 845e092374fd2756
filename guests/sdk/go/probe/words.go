package main

import (
	"errors"
	"slices"
	"strconv"

	hexdag "github.com/hexdag/hexdag/guests/sdk/go"
)

var kinds = []string{"absent", "null", "bool", "number", "string", "array", "object"}

func kindName(k hexdag.Kind) string { return kinds[k] }

func kindNamed(name string) hexdag.Kind { return hexdag.Kind(max(0, slices.Index(kinds, name))) }

func say(line string) { hexdag.Log(hexdag.LevelDebug, line) }

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// statusOf is the status's word of what the SDK returned.
func statusOf(err error) string {
	var status hexdag.Status
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &status):
		return status.Error()
	}
	return err.Error()
}

// sum says of a text its length and its checksum, FNV-1a of 32 bits.
func sum(text string) string {
	h := uint32(2166136261)
	for i := range len(text) {
		h = (h ^ uint32(text[i])) * 16777619
	}
	return strconv.Itoa(len(text)) + " " + strconv.FormatUint(uint64(h), 10)
}
