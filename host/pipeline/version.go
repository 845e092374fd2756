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
	if f.Pipeline != nil {
		f.Pipeline.Version = version
	}
	if f.System != nil {
		for _, p := range f.System.Processes {
			p.Pipeline.Version = version
		}
	}
}

// Source is a file that a pipeline is made of.
type Source struct {
	Path string
	Text []byte
}

// setSources gives pipelines the texts of their files.
func (f *File) setSources(texts map[string][]byte) {
	var sources []Source
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		sources = append(sources, Source{path, texts[path]})
	}
	if f.Pipeline != nil {
		f.Pipeline.Sources = sources
	}
	if f.System != nil {
		for _, p := range f.System.Processes {
			p.Pipeline.Sources = sources
		}
	}
}
