package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/hexdag/hexdag/host/kernel"
)

// The frame of a chunk. All numbers are little-endian.
//
//	 0  4  "hxj\n"
//	 4  1  the version of the format
//	 5  1  flags: 1, the payload is compressed (zstd)
//	 6  2  zero
//	 8  8  the number of the first entry
//	16  4  how many entries
//	20  4  how many bytes these are
//	24  4  how many bytes follow the header
//	28  4  CRC-32C of the header up to here, and of what follows it
const (
	magic       = "hxj\n"
	headerSize  = 32
	flagZstd    = 1
	maxPayload  = 128 << 20 // of one chunk, which holds one entry at least
	compressFor = 2 << 10   // what is shorter is kept as it is
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// zstdTools are made once: each holds tables of some hundred kilobytes.
var zstdTools = sync.OnceValues(func() (*zstd.Encoder, *zstd.Decoder) {
	// Options that are wrong are the only error of these two.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic(err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPayload), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err)
	}
	return enc, dec
})

// frame returns a chunk of consecutive entries, lines as appendEntry writes them. It keeps nothing of lines.
func frame(first uint64, count int, lines []byte) []byte {
	chunk := make([]byte, headerSize, headerSize+len(lines))
	copy(chunk, magic)
	chunk[4] = Version
	binary.LittleEndian.PutUint64(chunk[8:], first)
	binary.LittleEndian.PutUint32(chunk[16:], uint32(count))
	binary.LittleEndian.PutUint32(chunk[20:], uint32(len(lines)))
	if len(lines) >= compressFor {
		enc, _ := zstdTools()
		chunk = enc.EncodeAll(lines, chunk)
	}
	if stored := len(chunk) - headerSize; stored > 0 && stored < len(lines) {
		chunk[5] = flagZstd
	} else {
		chunk = append(chunk[:headerSize], lines...)
	}
	binary.LittleEndian.PutUint32(chunk[24:], uint32(len(chunk)-headerSize))
	binary.LittleEndian.PutUint32(chunk[28:], checksum(chunk))
	return chunk
}

func checksum(chunk []byte) uint32 {
	return crc32.Update(crc32.Checksum(chunk[:28], castagnoli), castagnoli, chunk[headerSize:])
}

// unframe returns the lines of a chunk, which it may share memory with. What is wrong with it is
// a plain error; what a later version has written is one of CodeJournal.
func unframe(chunk []byte) (first uint64, count int, lines []byte, err error) {
	switch {
	case len(chunk) < headerSize:
		return 0, 0, nil, fmt.Errorf("it ends within its header, after %d bytes", len(chunk))
	case string(chunk[:4]) != magic:
		return 0, 0, nil, errors.New("it does not begin as one")
	case chunk[4] > Version:
		return 0, 0, nil, newerError(int(chunk[4]))
	}
	stored := chunk[headerSize:]
	if want := binary.LittleEndian.Uint32(chunk[24:]); int64(len(stored)) < int64(want) {
		return 0, 0, nil, fmt.Errorf("%d bytes of %d are missing", int64(want)-int64(len(stored)), want)
	}
	if binary.LittleEndian.Uint32(chunk[28:]) != checksum(chunk) {
		return 0, 0, nil, errors.New("its checksum does not match")
	}
	size := binary.LittleEndian.Uint32(chunk[20:])
	if chunk[4] < 1 || chunk[5]&^flagZstd != 0 || chunk[6] != 0 || chunk[7] != 0 || size > maxPayload || binary.LittleEndian.Uint32(chunk[24:]) != uint32(len(stored)) {
		return 0, 0, nil, errors.New("its header makes no sense")
	}
	if lines = stored; chunk[5]&flagZstd != 0 {
		// A few bytes may say that they are many: what they become is not allocated for at once.
		if lines, err = expand(stored, int(size)); err != nil {
			return 0, 0, nil, err
		}
	}
	number := binary.LittleEndian.Uint32(chunk[16:])
	switch {
	case len(lines) != int(size):
		return 0, 0, nil, fmt.Errorf("it holds %d bytes of entries, and says %d", len(lines), size)
	case int64(bytes.Count(lines, []byte{'\n'})) != int64(number) || len(lines) > 0 && lines[len(lines)-1] != '\n':
		return 0, 0, nil, fmt.Errorf("it does not hold the %d entries that it says", number)
	}
	first = binary.LittleEndian.Uint64(chunk[8:])
	if first == 0 || first > math.MaxUint64-uint64(number) {
		return 0, 0, nil, errors.New("its header makes no sense")
	}
	return first, int(number), lines, nil
}

// maxRatio is by how much zstd can make JSON lines shorter; what claims more is nothing that frame has written.
const maxRatio = 20_000

func expand(stored []byte, size int) ([]byte, error) {
	if size/maxRatio > len(stored) {
		return nil, fmt.Errorf("%d bytes cannot hold %d", len(stored), size)
	}
	_, dec := zstdTools()
	lines, err := dec.DecodeAll(stored, make([]byte, 0, size))
	if err != nil {
		return nil, fmt.Errorf("it cannot be decompressed: %w", err)
	}
	return lines, nil
}

func newerError(version int) error {
	return &kernel.Error{
		Code: kernel.CodeJournal, What: "the journal was written by a newer version", Why: fmt.Sprintf("its format is %d, and this version reads %d", version, Version),
		Fix: "use that version of hexdag",
	}
}

// isNewer reports whether an error is newerError's.
func isNewer(err error) bool { return kernel.CodeOf(err) == kernel.CodeJournal }
