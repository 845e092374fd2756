// Package mlflowartifacts keeps artifacts with an MLflow tracking server, by its REST interface
// for proxied artifacts (mlflow server --serve-artifacts): where the team's models are, beside
// them.
//
// MLflow promises less than other backends. It writes objects in place, so that one who reads
// while the same object is written may get a part of it, which the store then calls corrupt;
// it does not say when an object was written, so that nothing becomes too old and
// Collect removes nothing, and content that was deleted stays and counts for a quota; and a list reads the whole folder.
package mlflowartifacts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/spool"
)

// The limits of what a server answers, in bytes.
const (
	maxList  = 64 << 20
	maxError = 4 << 10
)

// idle is how long a server may take to begin its answer.
const idle = 2 * time.Minute

// Options say which server. Credentials are where MLflow's own clients look for
// them: MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
type Options struct {
	URL     string // the server's: https://mlflow.example
	Prefix  string // put before every key; it ends in '/' or is empty
	TempDir string // where objects of more than 1 MiB wait for their key; "" means the system's
	// Lock keeps other processes apart, as driver.Bucket says. Without it the bucket knows
	// only of this process.
	Lock func(ctx context.Context, exclusive bool) (unlock func(), err error)
}

// Bucket is a driver.Bucket with a server.
type Bucket struct {
	driver.Sharing
	client  *http.Client
	base    *url.URL
	opts    Options
	headers http.Header
}

var _ driver.Bucket = (*Bucket)(nil)

// NewBucket returns the bucket. Whether the server is there shows at the first use.
func NewBucket(opts Options) (*Bucket, error) {
	base, err := url.Parse(opts.URL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil || base.RawQuery != "" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the URL of MLflow cannot be used", Why: "it is not of the form https://host/path",
			Fix: "correct url; credentials are taken from MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's is one
	transport.ResponseHeaderTimeout = idle
	b := &Bucket{
		Sharing: driver.Sharing{Others: opts.Lock}, base: base.JoinPath("api/2.0/mlflow-artifacts/artifacts"), opts: opts, headers: http.Header{},
		client: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if token := os.Getenv("MLFLOW_TRACKING_TOKEN"); token != "" {
		b.headers.Set("Authorization", "Bearer "+token)
	} else if user := os.Getenv("MLFLOW_TRACKING_USERNAME"); user != "" {
		r := &http.Request{Header: b.headers}
		r.SetBasicAuth(user, os.Getenv("MLFLOW_TRACKING_PASSWORD"))
	}
	return b, nil
}

// Close gives up connections that are not in use.
func (b *Bucket) Close() error {
	b.client.CloseIdleConnections()
	return nil
}

// do makes a request and returns the response if its status is one of ok.
func (b *Bucket) do(ctx context.Context, method, key, query string, body io.Reader, length int64, ok ...int) (*http.Response, error) {
	u := *b.base
	if key != "" {
		u = *u.JoinPath(strings.Split(b.opts.Prefix+key, "/")...)
	}
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = length
	for name, values := range b.headers {
		req.Header[name] = values
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return nil, err
	}
	if slices.Contains(ok, resp.StatusCode) {
		return resp, nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what there is of it
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w", key, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("MLflow answers %s: %s", resp.Status, kernel.Quote(string(text)))
}

// Open implements driver.Bucket.
func (b *Bucket) Open(ctx context.Context, key string) (io.ReadCloser, *driver.Object, error) {
	resp, err := b.do(ctx, http.MethodGet, key, "", nil, 0, http.StatusOK)
	if err != nil {
		return nil, nil, err
	}
	if resp.ContentLength < 0 {
		return nil, nil, errors.Join(fmt.Errorf("MLflow does not say how large %s is", key), resp.Body.Close())
	}
	return resp.Body, &driver.Object{Key: key, Size: resp.ContentLength}, nil
}

// List implements driver.Bucket.
func (b *Bucket) List(ctx context.Context, prefix, after string, limit int) ([]driver.Object, error) {
	found, _, err := b.folder(ctx, prefix)
	if err != nil {
		return nil, err
	}
	found = slices.DeleteFunc(found, func(o driver.Object) bool { return o.Key <= after })
	slices.SortFunc(found, func(x, y driver.Object) int { return cmp.Compare(x.Key, y.Key) })
	return found[:min(limit, len(found))], nil
}

// folder returns the objects directly below prefix, and the prefixes of what else is below it.
func (b *Bucket) folder(ctx context.Context, prefix string) (objects []driver.Object, folders []string, err error) {
	query := url.Values{"path": {strings.TrimSuffix(b.opts.Prefix+prefix, "/")}}.Encode()
	resp, err := b.do(ctx, http.MethodGet, "", query, nil, 0, http.StatusOK)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxList))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, nil, err
	}
	var answer struct {
		Files []struct {
			Path  string      `json:"path"`
			IsDir bool        `json:"is_dir"`
			Size  json.Number `json:"file_size"`
		} `json:"files"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, nil, fmt.Errorf("MLflow's list is no JSON, or has more than %d bytes: %w", maxList, err)
	}
	for _, f := range answer.Files {
		key := prefix + path.Base(f.Path)
		if f.IsDir {
			folders = append(folders, key+"/")
			continue
		}
		size, _ := f.Size.Int64() // an empty file has none in some versions
		objects = append(objects, driver.Object{Key: key, Size: size})
	}
	return objects, folders, nil
}

// Walk implements driver.Bucket.
func (b *Bucket) Walk(ctx context.Context, prefix string) iter.Seq2[driver.Object, error] {
	return func(yield func(driver.Object, error) bool) {
		for open := []string{prefix}; len(open) > 0; {
			objects, folders, err := b.folder(ctx, open[0])
			if err != nil {
				yield(driver.Object{}, err)
				return
			}
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
			open = append(folders, open[1:]...)
		}
	}
}

// Delete implements driver.Bucket. MLflow removes what is not there, too, so it is asked
// first.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		resp, err := b.do(ctx, method, key, "", nil, 0, http.StatusOK)
		if err != nil {
			return err
		}
		if err := resp.Body.Close(); err != nil {
			return err
		}
	}
	return nil
}

// NewWriter implements driver.Bucket.
func (b *Bucket) NewWriter(ctx context.Context) (driver.Writer, error) {
	return &writer{Spool: spool.New(b.opts.TempDir), bucket: b}, ctx.Err()
}

type writer struct {
	*spool.Spool
	bucket *Bucket
}

// Commit implements driver.Writer.
func (w *writer) Commit(ctx context.Context, key string) error {
	data, err := w.Reader()
	if err != nil {
		return err
	}
	resp, err := w.bucket.do(ctx, http.MethodPut, key, "", io.NopCloser(data), w.Size(), http.StatusOK)
	if err != nil {
		return err
	}
	w.Close()
	return resp.Body.Close()
}

// Abort implements driver.Writer.
func (w *writer) Abort() { w.Close() }
