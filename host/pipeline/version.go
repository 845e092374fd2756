package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
)

// setVersion tells pipelines which version they are: the SHA-256 over the digests of all that
// was read for the file, wherever it lies.
func (f *File) setVersion(reads map[string][sha256.Size]byte) {
	digests := slices.SortedFunc(maps.Values(reads), func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	all := sha256.New()
	for _, digest := range digests {
		all.Write(digest[:])
	}
	version := "sha256:" + hex.EncodeToString(all.Sum(nil))
	sources := make(map[string]string, len(reads))
	for file, digest := range reads {
		sources[file] = "sha256:" + hex.EncodeToString(digest[:])
	}
	if f.Pipeline != nil {
		f.Pipeline.Version, f.Pipeline.Sources = version, sources
	}
	if f.System != nil {
		for _, p := range f.System.Processes {
			p.Pipeline.Version, p.Pipeline.Sources = version, sources
		}
	}
}
