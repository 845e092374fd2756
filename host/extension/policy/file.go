package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
)

// File is what a policy's file holds.
type File struct {
	Wasm     []byte
	Data     []byte // the base document, a JSON object, which Load reads
	Revision string // as its builder named it
}

const (
	maxFile     = 16 << 20 // bytes of a file, compressed or not
	maxUnpacked = 64 << 20 // bytes of all that a bundle holds
	maxEntries  = 4096
	maxRoom     = 1 << 20 // that is made for an entry because it says how long it is
)

// ReadFile reads a module (.wasm), or an OPA bundle (.tar.gz) that has one.
func ReadFile(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "the policy cannot be read", Where: kernel.Where{File: path}, Why: err.Error(), Err: err}
	}
	defer f.Close()
	return Read(path, f)
}

// Read is ReadFile from a stream. The name is for errors.
func Read(name string, r io.Reader) (*File, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, &kernel.Error{Code: kernel.CodePolicy, What: "the policy cannot be read", Where: kernel.Where{File: name}, Why: err.Error(), Err: err}
	}
	switch {
	case len(raw) > maxFile:
		return nil, invalid(name, "the policy's file is too large", fmt.Sprintf("the limit is %d bytes", maxFile), "")
	case bytes.HasPrefix(raw, []byte("\x00asm")):
		return &File{Wasm: raw, Data: []byte("{}")}, nil
	case bytes.HasPrefix(raw, []byte{0x1f, 0x8b}):
		return readBundle(name, raw)
	}
	return nil, invalid(name, "the file is no policy", "it is neither a WebAssembly module nor a gzipped bundle", "build one with hexdag policy build DIR -o FILE")
}

// bundle collects what a policy needs of an archive's entries.
type bundle struct {
	wasm     []byte
	data     map[string]any
	manifest struct {
		Revision string `json:"revision"`
	}
}

func readBundle(name string, raw []byte) (*File, error) {
	entries, err := Unpack(name, raw)
	if err != nil {
		return nil, err
	}
	b := &bundle{data: map[string]any{}}
	root := onlyData(entries)
	for _, entry := range slices.Sorted(maps.Keys(entries)) {
		if root != nil && entry == rootData {
			continue
		}
		if err := b.add(entry, entries[entry]); err != nil {
			return nil, badBundle(name, err)
		}
	}
	if b.wasm == nil {
		return nil, badBundle(name, errors.New("it has no module"))
	}
	if root != nil {
		return &File{Wasm: b.wasm, Data: root, Revision: b.manifest.Revision}, nil
	}
	data, err := kernel.EncodeJSON(b.data)
	if err != nil {
		return nil, invalid(name, "the policy bundle's data cannot be used", kernel.Quote(err.Error()), "")
	}
	return &File{Wasm: b.wasm, Data: data, Revision: b.manifest.Revision}, nil
}

const rootData = "data.json"

// onlyData returns the data of a bundle that has it in one place, at the root, and nil for any other: nothing has
// to be merged, so it is read where the module reads it, and at the same time.
func onlyData(entries map[string][]byte) []byte {
	for entry := range entries {
		if path.Base(entry) == rootData && entry != rootData {
			return nil
		}
	}
	if root := bytes.TrimSpace(entries[rootData]); bytes.HasPrefix(root, []byte("{")) {
		return root
	}
	return nil
}

func badBundle(name string, err error) error {
	return invalid(name, "the policy bundle cannot be used", kernel.Quote(err.Error()), "build it with hexdag policy build")
}

// Unpack returns the files of a bundle by their names, which are plain, relative
// and unlike each other.
func Unpack(name string, raw []byte) (map[string][]byte, error) {
	entries, err := unpack(raw)
	if err != nil {
		return nil, badBundle(name, err)
	}
	return entries, nil
}

func unpack(raw []byte) (map[string][]byte, error) {
	zipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	// One byte more than allowed is there to be read, so that the end of what is
	// allowed is not taken for the end of the archive.
	unpacked := &io.LimitedReader{R: zipped, N: maxUnpacked + 1}
	entries, err := readEntries(tar.NewReader(unpacked))
	if err == nil {
		_, err = io.Copy(io.Discard, unpacked) // to the checksum
	}
	if unpacked.N <= 0 {
		err = fmt.Errorf("it unpacks to more than %d bytes", maxUnpacked)
	}
	return entries, err
}

func readEntries(archive *tar.Reader) (map[string][]byte, error) {
	entries := map[string][]byte{}
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		entry, err := entryName(header)
		if err != nil {
			return nil, err
		}
		if _, seen := entries[entry]; seen || len(entries) == maxEntries {
			return nil, fmt.Errorf("entry %q occurs twice, or there are more than %d", entry, maxEntries)
		}
		var content bytes.Buffer
		content.Grow(int(min(header.Size, maxRoom)) + bytes.MinRead)
		if _, err := content.ReadFrom(archive); err != nil {
			return nil, err
		}
		entries[entry] = content.Bytes()
	}
}

// entryName returns the name of a regular file, without the slash that OPA puts
// before it. Nothing is ever written under it.
func entryName(header *tar.Header) (string, error) {
	if header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("entry %q is not a regular file", header.Name)
	}
	entry := strings.TrimPrefix(header.Name, "/")
	if entry == "" || path.Clean("/"+entry) != "/"+entry || strings.ContainsAny(entry, "\\\x00") {
		return "", fmt.Errorf("entry %q has no plain name", header.Name)
	}
	return entry, nil
}

func (b *bundle) add(entry string, content []byte) error {
	dir, file := path.Split(entry)
	switch {
	case entry == ".manifest":
		return json.Unmarshal(content, &b.manifest)
	case file == "data.json":
		v, err := kernel.DecodeJSON(content)
		if err != nil {
			return fmt.Errorf("%s: %w", entry, err)
		}
		return Place(b.data, dir, v)
	case strings.HasSuffix(file, ".wasm"):
		if b.wasm != nil {
			return errors.New("it has more than one module")
		}
		b.wasm = content
	case file == "data.yaml", file == "data.yml", entry == "patch.json":
		return fmt.Errorf("this reader does not take %s", entry)
	}
	return nil
}

// Place merges a document into a base document at a path, as "a/b/". Data that is
// there twice is an error, never a choice.
func Place(base map[string]any, dir string, document kernel.Value) error {
	object, ok := document.(map[string]any)
	if !ok {
		return errors.New("a data file is not an object")
	}
	for _, name := range slices.Backward(strings.FieldsFunc(dir, func(r rune) bool { return r == '/' })) {
		object = map[string]any{name: object}
	}
	return merge(base, object)
}

func merge(into, from map[string]any) error {
	for name, v := range from {
		old, twice := into[name]
		if !twice {
			into[name] = v
			continue
		}
		a, ok := old.(map[string]any)
		b, ok2 := v.(map[string]any)
		if !ok || !ok2 {
			return fmt.Errorf("two values for %q", name)
		}
		if err := merge(a, b); err != nil {
			return err
		}
	}
	return nil
}
