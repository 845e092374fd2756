package artifacts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"mime"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hexdag/hexdag/host/kernel"
)

const (
	manifestVersion    = 1
	defaultContentType = "application/octet-stream"

	maxName        = 255
	maxRunID       = 255
	maxContentType = 255
	maxMetadata    = 64 << 10
	maxManifest    = maxMetadata + 32<<10 // the rest is bounded by the three above, and by what labels hold
)

// manifest is what an artifact's id is the digest of. It has no time, so that
// storing the same again gives the same id, in a replayed run too.
type manifest struct {
	Version     int            `json:"version"`
	RunID       string         `json:"run_id"`
	Name        string         `json:"name"`
	Digest      string         `json:"digest"`
	Size        int64          `json:"size"`
	ContentType string         `json:"content_type"`
	Metadata    map[string]any `json:"metadata"`
	Labels      *kernel.Labels `json:"labels,omitempty"`
}

// newManifest checks all that is known of an artifact before its bytes are.
func newManifest(runID, name string, opts StoreOptions) (*manifest, error) {
	m := &manifest{Version: manifestVersion, RunID: runID, Name: name, ContentType: opts.ContentType, Metadata: opts.Metadata, Labels: opts.Labels}
	if m.ContentType == "" {
		m.ContentType = defaultContentType
	}
	if m.Metadata == nil {
		m.Metadata = map[string]any{}
	}
	for _, check := range []error{checkRunID(runID), checkName(name), checkContentType(m.ContentType)} {
		if check != nil {
			return nil, check
		}
	}
	text, err := json.Marshal(m.Metadata)
	if err != nil {
		return nil, badArgument("metadata is no JSON object", err.Error())
	}
	if len(text) > maxMetadata {
		return nil, badArgument("metadata is too large", fmt.Sprintf("it has %d bytes of JSON, the limit is %d", len(text), maxMetadata))
	}
	return m, nil
}

// encode gives the one form that a manifest has: encoding/json sorts the keys of
// the metadata.
func (m *manifest) encode() ([]byte, error) { return json.Marshal(m) }

func decodeManifest(r io.Reader) (*manifest, error) {
	dec := json.NewDecoder(r)
	dec.UseNumber()
	var m manifest
	if err := dec.Decode(&m); err != nil {
		return nil, err
	}
	if m.Version != manifestVersion {
		return nil, fmt.Errorf("its manifest has version %d, this program knows %d", m.Version, manifestVersion)
	}
	return &m, nil
}

func (m *manifest) artifact(id string, stored time.Time) *Artifact {
	return &Artifact{ID: id, RunID: m.RunID, Name: m.Name, Digest: m.Digest, Size: m.Size,
		ContentType: m.ContentType, Metadata: m.Metadata, Labels: m.Labels, Stored: stored.UTC()}
}

func checkRunID(id string) error {
	if id == "" || len(id) > maxRunID || !printable(id) {
		return badArgument("run id "+kernel.Quote(id)+" cannot be used", fmt.Sprintf("it is 1 to %d bytes of printable characters", maxRunID))
	}
	return nil
}

// checkName refuses what is, on some system or in some tool, another path than it seems.
func checkName(name string) error {
	refuse := func(why string) error {
		return badArgument("artifact name "+kernel.Quote(name)+" cannot be used", why)
	}
	switch {
	case name == "" || len(name) > maxName:
		return refuse(fmt.Sprintf("a name has 1 to %d bytes, this one has %d", maxName, len(name)))
	case !printable(name):
		return refuse("a name is of printable characters, in UTF-8")
	case strings.ContainsAny(name, `\:`):
		return refuse(`a name has neither '\' nor ':'`)
	case !fs.ValidPath(name) || name == ".":
		return refuse(`the segments between '/' are neither empty nor "." nor ".."`)
	}
	return nil
}

func checkContentType(contentType string) error {
	if _, _, err := mime.ParseMediaType(contentType); err != nil || len(contentType) > maxContentType || !printable(contentType) {
		return badArgument("content type "+kernel.Quote(contentType)+" cannot be used", "it is a media type such as text/plain; charset=utf-8")
	}
	return nil
}

func checkID(id string) error {
	hexDigits, ok := strings.CutPrefix(id, digestPrefix)
	raw, err := hex.DecodeString(hexDigits)
	if !ok || err != nil || len(raw) != sha256.Size || strings.ToLower(hexDigits) != hexDigits {
		return badArgument("artifact id "+kernel.Quote(id)+" cannot be used", `an id is "sha256:" and 64 hexadecimal digits in lower case`)
	}
	return nil
}

// printable excludes what cannot be seen or changes the direction of text.
func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

func badArgument(what, why string) error {
	return &kernel.Error{Code: kernel.CodeArguments, What: what, Why: why}
}

const digestPrefix = "sha256:"

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return digestPrefix + hex.EncodeToString(sum[:])
}

func digestOf(h hash.Hash) string { return digestPrefix + hex.EncodeToString(h.Sum(nil)) }

// The keys in the bucket.
func manifestKey(id string) string    { return "manifests/" + hexOf(id) }
func contentKey(digest string) string { return "content/" + hexOf(digest) }
func refPrefix(digest string) string  { return "refs/" + hexOf(digest) + "/" }
func refKey(digest, id string) string { return refPrefix(digest) + hexOf(id) }
func runPrefix(runID string) string   { return "runs/" + hexOf(digest([]byte(runID))) + "/" }
func runKey(runID, id string) string  { return runPrefix(runID) + hexOf(id) }
func idOfKey(key string) string       { return digestPrefix + path.Base(key) }
func hexOf(digest string) string      { return strings.TrimPrefix(digest, digestPrefix) }
