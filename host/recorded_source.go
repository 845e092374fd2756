package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/journal"
	"github.com/hexdag/hexdag/host/journal/driver"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/pipeline"
)

// loadSource loads a run's pipeline as it was: from its file, or, where that has changed, from what the journal keeps.
func (h *Host) loadSource(ctx context.Context, store driver.Store, head *journal.Head) (*Pipeline, error) {
	p, err := h.Load(ctx, head.File, LoadOptions{Environment: head.Environment})
	if err == nil && p.Version == head.Version {
		return p, nil
	}
	if err == nil {
		if err := p.Close(ctx); err != nil {
			return nil, err
		}
	}
	file, now, err := h.materialize(ctx, store, head)
	if err != nil {
		return nil, err
	}
	read, err := h.files.Read(file, h.reading(LoadOptions{Environment: head.Environment}))
	if err != nil {
		return nil, err
	}
	if read.Pipeline == nil {
		return nil, &kernel.Error{Code: kernel.CodeJournal, What: "the journal does not say which file the pipeline is", Where: kernel.Where{File: head.File, Run: head.Run}, Why: "what it names holds a system", Fix: "restore the pipeline as it was"}
	}
	was := *read.Pipeline // what was read others may have, too
	if p, err = h.prepare(ctx, &was, head.Environment); err != nil {
		return nil, err
	}
	was.Version, was.File, was.Sources = head.Version, head.File, map[string]pipeline.Source{} // where it is now is nobody's business
	for then, now := range now {
		if source, ok := read.Pipeline.Sources[now]; ok {
			was.Sources[then] = source
		}
	}
	return p, nil
}

// materialize writes a pipeline's files below the state folder, as the journal keeps them, and returns the path of its own, and those of all by
// where they were.
func (h *Host) materialize(ctx context.Context, store driver.Store, head *journal.Head) (file string, now map[string]string, err error) {
	if !isDigest(head.Version) {
		return "", nil, &kernel.Error{Code: kernel.CodeJournal, What: "the journal does not say which version the pipeline is of", Where: kernel.Where{Run: head.Run}, Why: kernel.Quote(head.Version) + " is no digest", Fix: "restore the pipeline as it was"}
	}
	dir := filepath.Join(h.state, "versions", strings.TrimPrefix(head.Version, "sha256:"))
	now = map[string]string{}
	root := commonDir(slices.Collect(maps.Keys(head.Source)))
	for path, digest := range head.Source {
		text, err := store.Blob(ctx, head.Tenant, digest)
		if err != nil {
			return "", nil, &kernel.Error{Code: kernel.CodeNotFound, What: "a file of the pipeline is not there", Where: kernel.Where{File: path, Run: head.Run}, Why: "it has changed since the run began, and the journal does not have " + digest, Fix: "restore the file as it was", Err: err}
		}
		if sha256Of(text) != digest {
			return "", nil, &kernel.Error{Code: kernel.CodeJournal, What: "a file of the pipeline is damaged", Where: kernel.Where{File: path, Run: head.Run}, Why: "what the journal keeps as " + digest + " has another digest", Fix: "restore the file as it was"}
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || !filepath.IsLocal(rel) {
			return "", nil, fmt.Errorf("%s is not below %s", path, root)
		}
		now[path] = filepath.Join(dir, rel)
		if err := replaceFile(now[path], text); err != nil {
			return "", nil, err
		}
	}
	rel, err := filepath.Rel(root, head.File)
	if err != nil || !filepath.IsLocal(rel) {
		return "", nil, &kernel.Error{Code: kernel.CodeJournal, What: "the journal does not say which file the pipeline is", Where: kernel.Where{Run: head.Run}, Fix: "restore the pipeline as it was"}
	}
	return filepath.Join(dir, rel), now, nil
}

// isDigest reports whether text is one: a journal can be anybody's, and names of files are made of it.
func isDigest(text string) bool {
	sum, err := hex.DecodeString(strings.TrimPrefix(text, "sha256:"))
	return err == nil && len(sum) == sha256.Size && strings.HasPrefix(text, "sha256:")
}

// commonDir returns the innermost folder that all files are below.
func commonDir(files []string) string {
	dir := ""
	for i, f := range files {
		d := filepath.Dir(f)
		for i > 0 && dir != d && !strings.HasPrefix(d, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator)) {
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
		if i == 0 {
			dir = d
		}
	}
	return dir
}
