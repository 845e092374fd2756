package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
)

// Source is a file that was read for a pipeline.
type Source struct {
	Digest string // "sha256:..."
	Text   []byte
}

// setVersion tells pipelines which version they are: the SHA-256 over the digests of all that
// was read for the file, wherever it lies.
func (f *File) setVersion(reads map[string][sha256.Size]byte, texts map[string][]byte) {
	digests := slices.SortedFunc(maps.Values(reads), func(a, b [sha256.Size]byte) int { return bytes.Compare(a[:], b[:]) })
	all := sha256.New()
	for _, digest := range digests {
		all.Write(digest[:])
	}
	version := "sha256:" + hex.EncodeToString(all.Sum(nil))
	sources := make(map[string]Source, len(reads))
	for file, digest := range reads {
		sources[file] = Source{Digest: "sha256:" + hex.EncodeToString(digest[:]), Text: texts[file]}
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
