package driver

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"regexp"
	"strings"
)

var plain = regexp.MustCompile(`^[a-z0-9_-]{1,48}$`)

// NameOf writes a tenant as engines name things: in lower-case letters, digits, _ and -, at
// most 98 of them. No two tenants have the same, on a disk that ignores case either.
func NameOf(tenant string) string {
	switch {
	case plain.MatchString(tenant):
		return "t-" + tenant
	case len(tenant) <= 60:
		return "x-" + strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(tenant)))
	}
	sum := sha256.Sum256([]byte(tenant))
	return "h-" + hex.EncodeToString(sum[:])
}
