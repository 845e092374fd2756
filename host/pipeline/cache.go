package pipeline

import (
	"crypto/sha256"
	"maps"
	"os"
	"slices"
	"sync"
)

// maxCached is how many files a cache keeps; then it starts anew.
const maxCached = 1024

// Cache keeps what was read, by the content of all that was read for it: a file
// that has changed, or whose includes or environment variables have, is read
// anew. It may be used by several goroutines. The zero value is usable.
type Cache struct {
	mu    sync.Mutex
	files map[cacheKey]*cached
}

type cacheKey struct{ file, environment string }

type cached struct {
	file  *File
	reads map[string][sha256.Size]byte // digests by path
	texts map[string][]byte
	env   map[string]variable
}

// variable is what the environment answered.
type variable struct {
	value string
	set   bool
}

// Read is the function Read, from the cache where nothing has changed.
func (c *Cache) Read(file string, opts Options) (*File, error) {
	key := cacheKey{file, opts.Environment}
	c.mu.Lock()
	known := c.files[key]
	c.mu.Unlock()
	if known != nil && known.current(opts) {
		return known.file, nil
	}
	fresh := &cached{reads: map[string][sha256.Size]byte{}, texts: map[string][]byte{}, env: map[string]variable{}}
	f, err := Read(file, fresh.watch(opts))
	if err != nil {
		return nil, err
	}
	fresh.file = f
	f.setVersion(fresh.reads, fresh.texts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.files == nil || len(c.files) >= maxCached {
		c.files = map[cacheKey]*cached{}
	}
	c.files[key] = fresh
	return f, nil
}

// watch notes what is read through the options.
func (c *cached) watch(opts Options) Options {
	env := opts.Env
	opts.Env = func(name string) (string, bool) {
		v := variable{}
		if env != nil {
			v.value, v.set = env(name)
		}
		c.env[name] = v
		return v.value, v.set
	}
	opts.read = func(file string, text []byte) { c.reads[file], c.texts[file] = sha256.Sum256(text), text }
	return opts
}

// current reports whether all that was read is as it was.
func (c *cached) current(opts Options) bool {
	for name, was := range c.env {
		is := variable{}
		if opts.Env != nil {
			is.value, is.set = opts.Env(name)
		}
		if is != was {
			return false
		}
	}
	for _, file := range slices.Sorted(maps.Keys(c.reads)) {
		text, err := os.ReadFile(file)
		if err != nil || sha256.Sum256(text) != c.reads[file] {
			return false
		}
	}
	return true
}
