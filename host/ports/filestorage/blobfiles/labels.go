package blobfiles

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"

	"gocloud.dev/blob"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
)

// labelsFolder has the labels of files, each in an object of its own. No path begins so. An object's
// metadata would not do: fileblob writes it before the object is replaced.
const labelsFolder = ".hexdag/labels/"

func labelsOf(path string) string {
	sum := sha256.Sum256([]byte(path))
	return labelsFolder + hex.EncodeToString(sum[:])
}

// labels returns those of a file; the strictest, where they are damaged.
func (s *storage) labels(ctx context.Context, path string) (*kernel.Labels, error) {
	text, err := s.bucket.ReadAll(ctx, labelsOf(path))
	if err = blobError(ctx, err); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	labels := &kernel.Labels{}
	if labels.UnmarshalJSON(text) != nil {
		return kernel.NewLabels(kernel.Untrusted, kernel.Secret, "file_storage:damaged")
	}
	return labels.OrNil(), nil
}

// label gives a file labels, or takes them off.
func (s *storage) label(ctx context.Context, path string, labels *kernel.Labels) error {
	if labels == nil {
		if err := blobError(ctx, s.bucket.Delete(ctx, labelsOf(path))); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	text, err := json.Marshal(labels)
	if err != nil {
		return err
	}
	return blobError(ctx, s.bucket.WriteAll(ctx, labelsOf(path), text, &blob.WriterOptions{ContentType: "application/json"}))
}

// labelled returns files with their labels, but for those that are gone meanwhile.
func (s *storage) labelled(ctx context.Context, files []driver.Info) ([]driver.Info, error) {
	s.marks.RLock()
	defer s.marks.RUnlock()
	kept := files[:0]
	for i := range files {
		info, err := s.stat(ctx, files[i].Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		kept = append(kept, *info)
	}
	return kept, nil
}
