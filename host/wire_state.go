package host

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/database"
	"github.com/hexdag/hexdag/host/ports/database/pgdb"
	"github.com/hexdag/hexdag/host/ports/filestorage"
	"github.com/hexdag/hexdag/host/ports/filestorage/blobfiles"
	"github.com/hexdag/hexdag/host/ports/filestorage/driver"
	"github.com/hexdag/hexdag/host/ports/filestorage/localfiles"
)

func openPostgres(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	cfg, err := pgdb.FromConfig(config)
	if err != nil {
		return nil, err
	}
	if o.own {
		if err := errors.Join(o.reach("Postgres", cfg.URL), cfg.CheckOwn()); err != nil {
			return nil, err
		}
	}
	d, err := pgdb.New(o.ctx, cfg)
	if err != nil {
		return nil, err
	}
	port := database.New(d)
	o.closers.add(func(context.Context) error { return port.Close() })
	return port.Ops(), nil
}

// filesProblem is what is wrong with the configuration of file_storage.
func filesProblem(err error, takes string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of file_storage cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes " + takes + ", max_file_bytes, max_read_bytes, max_files, max_bytes, read_only and shared", Err: err}
}

func openLocalFiles(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := o.path(config, "root", dir); err != nil {
		return nil, err
	}
	var c struct {
		filestorage.Options
		Root string `json:"root"` // the folder; files in the host's state if empty
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, filesProblem(err, "root")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if c.Root == "" && o.own {
		return nil, noPath("root")
	}
	if c.Root == "" {
		c.Root = filepath.Join(stateOf(o.host.config), "files")
	}
	storage, err := localfiles.Open(c.Root)
	if err != nil {
		return nil, filesProblem(err, "root")
	}
	o.host.storesIn("file_storage", c.Root)
	return o.keepFiles(storage, c.Options), nil
}

func openBlobFiles(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c struct {
		filestorage.Options
		blobfiles.Config
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, filesProblem(err, "url, prefix")
	}
	if err := c.Check(); err != nil {
		return nil, err
	}
	if u, err := url.Parse(c.URL); o.own && (err != nil || u.Scheme != "mem") {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "a pipeline may not open the bucket of its url", Why: "what a bucket reaches is the operator's to say", Fix: "use the adapter local, or mem://, or have the operator configure the port"}
	}
	storage, err := blobfiles.Open(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepFiles(storage, c.Options), nil
}

func (o opening) keepFiles(storage driver.Storage, opts filestorage.Options) []ports.Op {
	files := filestorage.New(storage, opts)
	o.closers.add(func(context.Context) error { return files.Close() })
	return files.Ops()
}
