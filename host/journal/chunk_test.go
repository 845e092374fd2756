package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/hexdag/hexdag/host/kernel"
)

// linesOf returns n entries, each with so many bytes that cannot be made shorter.
func linesOf(t testing.TB, first uint64, n, size int) []byte {
	t.Helper()
	var lines []byte
	for i := range n {
		body := make([]byte, size)
		for k := range body {
			body[k] = byte(k*k>>3 + i)
		}
		var err error
		if lines, err = appendLine(lines, &Entry{Seq: first + uint64(i), Kind: Draw, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

func TestFrame(t *testing.T) {
	for name, c := range map[string]struct {
		n, size    int
		compressed bool
	}{"small": {1, 0, false}, "large": {100, 200, true}, "none": {0, 0, false}} {
		lines := linesOf(t, 7, c.n, c.size)
		chunk := frame(7, c.n, lines)
		if compressed := chunk[5] == flagZstd; compressed != c.compressed || compressed && len(chunk) >= len(lines) {
			t.Errorf("%s: compressed %v, %d bytes of %d", name, compressed, len(chunk), len(lines))
		}
		first, count, got, err := unframe(chunk)
		if err != nil || first != 7 || count != c.n || !bytes.Equal(got, lines) {
			t.Errorf("%s: %d %d %v", name, first, count, err)
		}
		if entries, err := decodeLines(got, first); err != nil || len(entries) != c.n {
			t.Errorf("%s: %d entries: %v", name, len(entries), err)
		}
	}
}

// Wherever a chunk is cut, or a bit of it turned, it is an error.
func TestDamagedChunk(t *testing.T) {
	for _, lines := range [][]byte{linesOf(t, 1, 3, 10), linesOf(t, 1, 100, 30)} {
		whole := frame(1, bytes.Count(lines, []byte{'\n'}), lines)
		for at := range whole {
			if _, _, _, err := unframe(whole[:at]); err == nil {
				t.Fatalf("cut after %d bytes, it is taken", at)
			}
			for bit := range 8 {
				damaged := slices.Clone(whole)
				damaged[at] ^= 1 << bit
				if _, _, _, err := unframe(damaged); err == nil {
					t.Fatalf("bit %d of byte %d turned, it is taken", bit, at)
				}
			}
		}
		if _, _, _, err := unframe(append(slices.Clone(whole), 0)); err == nil {
			t.Error("with a byte more it is taken")
		}
	}
}

// seal writes a header's checksum anew.
func seal(chunk []byte) []byte {
	binary.LittleEndian.PutUint32(chunk[28:], checksum(chunk))
	return chunk
}

// What is whole, and still nothing that frame writes, is refused for what it is.
func TestHostileChunk(t *testing.T) {
	lines := linesOf(t, 1, 2, 10)
	change := func(do func(c []byte)) []byte {
		c := frame(1, 2, lines)
		do(c)
		return seal(c)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	bomb := enc.EncodeAll(make([]byte, 16<<20), make([]byte, headerSize))
	copy(bomb, frame(1, 2, lines)[:headerSize])
	bomb[5] = flagZstd
	binary.LittleEndian.PutUint32(bomb[24:], uint32(len(bomb)-headerSize))
	claims := func(size uint32) []byte {
		c := slices.Clone(bomb)
		binary.LittleEndian.PutUint32(c[20:], size)
		return seal(c)
	}
	for name, c := range map[string]struct {
		chunk []byte
		want  string
	}{
		"flags":     {change(func(c []byte) { c[5] = 2 }), "makes no sense"},
		"reserved":  {change(func(c []byte) { c[7] = 1 }), "makes no sense"},
		"version 0": {change(func(c []byte) { c[4] = 0 }), "makes no sense"},
		"size":      {change(func(c []byte) { binary.LittleEndian.PutUint32(c[20:], 5) }), "it holds"},
		"huge":      {change(func(c []byte) { binary.LittleEndian.PutUint32(c[20:], 1<<32-1) }), "makes no sense"},
		"count":     {change(func(c []byte) { binary.LittleEndian.PutUint32(c[16:], 3) }), "does not hold the 3 entries"},
		"first 0":   {change(func(c []byte) { binary.LittleEndian.PutUint64(c[8:], 0) }), "makes no sense"},
		"last":      {change(func(c []byte) { binary.LittleEndian.PutUint64(c[8:], 1<<64-2) }), "makes no sense"},
		"not zstd":  {change(func(c []byte) { c[5] = flagZstd }), "cannot be decompressed"},
		"bomb":      {claims(100), "cannot be decompressed"},
		"promises":  {claims(maxPayload), "cannot hold"},
	} {
		_, _, _, err := unframe(c.chunk)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, _, err = unframe(change(func(c []byte) { c[4] = Version + 1 }))
	if kernel.CodeOf(err) != kernel.CodeJournal || err.Error() != "the journal was written by a newer version: its format is 2, and this version reads 1 (use that version of hexdag)" {
		t.Error(err)
	}
}

func TestHostileLines(t *testing.T) {
	for _, lines := range []string{
		"{}\n", `{"seq":2,"kind":"start"}` + "\n", `{"seq":1}` + "\n", `{"seq":1,"kind":"start"} {"seq":2,"kind":"start"}` + "\n\n", `[]` + "\n", "\n",
		`{"seq":1,"kind":"start"` + "\n}\n", `{"seq":-1,"kind":"start"}` + "\n", `{"seq":1,"kind":"start","labels":{"integrity":"odd"}}` + "\n",
		`{"seq":1,"kind":"start"}` + "\n" + `{"seq":1,"kind":"start"}` + "\n", strings.Repeat("[", 1<<20) + "\n",
	} {
		if entries, err := decodeLines([]byte(lines), 1); err == nil {
			t.Errorf("%.60q is taken as %d entries", lines, len(entries))
		}
	}
	// A later release of the same format may say more.
	entries, err := decodeLines([]byte(`{"seq":1,"kind":"news","time":"2026-01-02T03:04:05Z","unheard_of":{"a":1}}`+"\n"), 1)
	if err != nil || len(entries) != 1 || entries[0].Kind != "news" {
		t.Error(entries, err)
	}
}

func FuzzChunk(f *testing.F) {
	for _, lines := range [][]byte{nil, linesOf(f, 1, 2, 10), linesOf(f, 1, 200, 30)} {
		f.Add(frame(1, bytes.Count(lines, []byte{'\n'}), lines), true)
	}
	f.Fuzz(func(t *testing.T, chunk []byte, sealed bool) {
		if sealed && len(chunk) >= headerSize {
			seal(chunk)
		}
		first, count, lines, err := unframe(chunk)
		if err != nil {
			return
		}
		entries, err := decodeLines(lines, first)
		if err == nil && len(entries) != count {
			t.Errorf("%d entries of %d", len(entries), count)
		}
		// What is taken is written as it was read.
		var again []byte
		for _, e := range entries {
			if again, err = appendLine(again, e); err != nil {
				return // such as a time that RFC 3339 has no form for
			}
		}
		if second, err := decodeLines(again, first); err == nil && len(second) != len(entries) {
			t.Errorf("%d entries, and %d when written again", len(entries), len(second))
		}
	})
}

func TestCastagnoli(t *testing.T) {
	if got := crc32.Checksum([]byte("123456789"), castagnoli); got != 0xe3069283 {
		t.Errorf("the checksum is not the one that README.md names: %x", got)
	}
}
