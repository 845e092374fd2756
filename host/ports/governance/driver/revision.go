package driver

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/hexdag/hexdag/host/kernel"
)

// RevisionOf is the Revision of a backend that decides by data alone: its name and the
// hash of the data's JSON.
func RevisionOf(backend string, data any) (string, error) {
	v, err := kernel.ToValue(data)
	if err != nil {
		return "", err
	}
	text, err := kernel.EncodeJSON(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return backend + ":" + hex.EncodeToString(sum[:]), nil
}
