// Package commitment commits to values without telling them: whoever is shown the value
// and its salt can check that it is the one; without the salt nobody can, nor can they try
// out values. Once a salt is erased, the value is gone for good, and what has the commitment in
// it, a signed log for example, stays as it was signed.
//
// A commitment is HMAC-SHA256 with the salt, 32 random bytes for each value, as the
// key, of the JSON of [domain, pointer, value], its members sorted.
package commitment

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	prefix = "hmac-sha256:"
	// domain keeps a commitment from being taken for any other hash of the host's.
	domain = "hexdag audit commitment v1"
	// SaltSize is a salt's length, in bytes. It is fixed: HMAC takes a shorter key for the
	// same one with zeros behind it.
	SaltSize = 32
)

// Commit commits to a value, which was at a JSON pointer.
func Commit(pointer string, v kernel.Value) (kernel.Opening, error) {
	salt := make([]byte, SaltSize)
	rand.Read(salt) // never fails
	c, err := commitment(salt, pointer, v)
	return kernel.Opening{Commitment: c, Salt: base64.StdEncoding.EncodeToString(salt)}, err
}

// Opens reports whether an opening's commitment is to the value, which was at the pointer.
func Opens(o kernel.Opening, pointer string, v kernel.Value) bool {
	salt, err := base64.StdEncoding.Strict().DecodeString(o.Salt)
	if err != nil || len(salt) != SaltSize {
		return false
	}
	c, err := commitment(salt, pointer, v)
	return err == nil && hmac.Equal([]byte(c), []byte(o.Commitment))
}

// Valid reports whether a text has the form of a commitment.
func Valid(text string) bool {
	digits, ok := strings.CutPrefix(text, prefix)
	sum, err := hex.DecodeString(digits)
	return ok && err == nil && len(sum) == sha256.Size
}

func commitment(salt []byte, pointer string, v kernel.Value) (string, error) {
	text, err := kernel.EncodeJSON([]any{domain, pointer, v})
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, salt)
	h.Write(text)
	return prefix + hex.EncodeToString(h.Sum(nil)), nil
}
