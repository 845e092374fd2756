package policy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/hexdag/hexdag/host/kernel"
)

// patchFile is what a delta bundle of OPA's has in place of data and policies.
const patchFile = "patch.json"

// ReadPatches reads a delta bundle (.tar.gz), or the JSON document of patches
// that is in one, {"data": [{"op", "path", "value"}]}. The name is for errors.
func ReadPatches(name string, raw []byte) ([]Patch, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return readPatches(name, raw)
	}
	entries, err := Unpack(name, raw)
	if err != nil {
		return nil, err
	}
	for entry := range entries {
		if entry != patchFile && entry != ".manifest" && entry != ".signatures.json" {
			return nil, badBundle(name, fmt.Errorf("a delta bundle has nothing but %s, and this has %s", patchFile, entry))
		}
	}
	text, ok := entries[patchFile]
	if !ok {
		return nil, badBundle(name, errors.New("it is no delta bundle: it has no "+patchFile))
	}
	return readPatches(name, text)
}

func readPatches(name string, text []byte) ([]Patch, error) {
	var document struct {
		Data []Patch `json:"data"`
	}
	v, err := kernel.DecodeJSON(text)
	if err == nil {
		err = kernel.FromValue(v, &document)
	}
	if err != nil {
		return nil, invalid(name, "the patches of the policy's data cannot be read", kernel.Quote(err.Error()), `give {"data": [{"op": "upsert", "path": "/a/b", "value": ...}]}, or a bundle with it as patch.json`)
	}
	return document.Data, nil
}
