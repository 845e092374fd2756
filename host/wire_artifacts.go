package host

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/artifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/blobartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/clouds"
	"github.com/hexdag/hexdag/host/ports/artifacts/driver"
	"github.com/hexdag/hexdag/host/ports/artifacts/encrypted"
	"github.com/hexdag/hexdag/host/ports/artifacts/fileartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/leaselock"
	"github.com/hexdag/hexdag/host/ports/artifacts/memartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/mlflowartifacts"
	"github.com/hexdag/hexdag/host/ports/artifacts/natsartifacts"
	"github.com/hexdag/hexdag/host/resultcache"
)

type (
	// Artifact describes an artifact.
	Artifact = artifacts.Artifact
	// StoreOptions is what an artifact carries besides its bytes.
	StoreOptions = artifacts.StoreOptions
	// Origin is where an artifact comes from.
	Origin = artifacts.Origin
	// CollectOptions say what Artifacts.Collect removes.
	CollectOptions = artifacts.CollectOptions
)

// Artifacts is a store of artifacts, opened beside a host.
type Artifacts struct {
	*artifacts.Store
	close func() error
}

// Collect is that of the store, which also removes answers of nodes (cache) that are good no more.
func (a *Artifacts) Collect(ctx context.Context, opts CollectOptions) (*artifacts.Collected, error) {
	if opts.Gone == nil {
		opts.Gone = resultcache.Gone
	}
	return a.Store.Collect(ctx, opts)
}

// Close gives up the store.
func (a *Artifacts) Close() error { return a.close() }

// OpenArtifacts opens the store that a configuration's host keeps its artifacts in,
// whether or not it runs. The caller closes it.
func OpenArtifacts(ctx context.Context, cfg *Config) (*Artifacts, error) {
	spec := cfg.Ports["artifacts"]
	name := cmp.Or(spec.Adapter, "file")
	if name == "memory" {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "artifacts are kept in the memory of a host", Where: kernel.Where{File: cfg.File}, Fix: "configure another adapter to see them from outside: file, blob, nats or mlflow"}
	}
	if _, known := artifactBackends()[name]; !known {
		return nil, unknownArtifacts(name)
	}
	config := maps.Clone(spec.Config)
	if config == nil {
		config = map[string]any{}
	}
	sharing, release, err := sharedLocks(ctx, cfg, name)
	if err != nil {
		return nil, err
	}
	s, err := openArtifacts(ctx, name, config, stateOf(cfg), sharing, opening{}.pathIn(filepath.Dir(cfg.File)))
	if err != nil {
		return nil, errors.Join(err, release())
	}
	return &Artifacts{Store: s.store, close: func() error { return errors.Join(s.close(), release()) }}, nil
}

// sharedLocks opens the locks that keep the processes apart which share the artifacts of an adapter; nil
// where there are none, or none are needed.
func sharedLocks(ctx context.Context, cfg *Config, adapter string) (sharing func() *Locks, release func() error, err error) {
	if !serialises(cfg, adapter) {
		return nil, func() error { return nil }, nil
	}
	locks, _, err := OpenLocks(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	return func() *Locks { return locks }, locks.Close, nil
}

// serialises reports whether the port lock keeps the processes apart that share the artifacts of an adapter:
// where it is one that processes share, and the adapter has no lock of its own.
func serialises(cfg *Config, adapter string) bool {
	spec := cfg.Ports["lock"]
	_, known := lockStores()[spec.Adapter]
	return known && spec.Adapter != "memory" && slices.Contains([]string{"blob", "nats", "mlflow"}, adapter)
}

func unknownArtifacts(name string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "port artifacts has no adapter " + kernel.Quote(name), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(artifactBackends())), ", ")}
}

// artifactsConfig is the configuration of the artifacts port's adapters.
type artifactsConfig struct {
	MaxSize     int64  `json:"max_size"`     // bytes of an artifact
	MaxReply    int64  `json:"max_reply"`    // bytes that artifacts.retrieve returns at once
	TenantBytes int64  `json:"tenant_bytes"` // of a tenant's together
	Identities  string `json:"identities"`   // a file of secret keys of age, to keep them encrypted

	Root   string `json:"root"`   // of file
	URL    string `json:"url"`    // of blob, mlflow and nats
	Prefix string `json:"prefix"` // of blob and mlflow

	Bucket      string `json:"bucket"` // of nats
	Replicas    int    `json:"replicas"`
	Credentials string `json:"credentials"`
	CA          string `json:"ca"`
	Folder      string `json:"folder"`

	lock func(ctx context.Context, exclusive bool) (unlock func(), err error) // nil: of this process alone
}

// artifactBackend opens a bucket; where says where it is, and close gives it up.
type artifactBackend struct {
	takes []string // the members of its own in the configuration
	open  func(ctx context.Context, c *artifactsConfig, state string) (bucket driver.Bucket, where string, release func() error, err error)
}

func artifactBackends() map[string]artifactBackend {
	return map[string]artifactBackend{
		"file": {takes: []string{"root"}, open: func(_ context.Context, c *artifactsConfig, state string) (driver.Bucket, string, func() error, error) {
			root := cmp.Or(c.Root, filepath.Join(state, "artifacts"))
			b, err := fileartifacts.OpenBucket(root)
			if err != nil {
				return nil, "", nil, err
			}
			return b, root, b.Close, nil
		}},
		"memory": {open: func(context.Context, *artifactsConfig, string) (driver.Bucket, string, func() error, error) {
			return memartifacts.NewBucket(), "", func() error { return nil }, nil
		}},
		"blob": {takes: []string{"url", "prefix"}, open: func(ctx context.Context, c *artifactsConfig, _ string) (driver.Bucket, string, func() error, error) {
			b, err := clouds.Open(ctx, c.URL)
			if err != nil {
				return nil, "", nil, err
			}
			return blobartifacts.NewBucket(b, blobartifacts.Options{Prefix: c.Prefix, StartAfter: clouds.StartAfter, Lock: c.lock}), clouds.WithoutParameters(c.URL) + "/" + c.Prefix, b.Close, nil
		}},
		"mlflow": {takes: []string{"url", "prefix"}, open: func(_ context.Context, c *artifactsConfig, _ string) (driver.Bucket, string, func() error, error) {
			b, err := mlflowartifacts.NewBucket(mlflowartifacts.Options{URL: c.URL, Prefix: c.Prefix, Lock: c.lock})
			if err != nil {
				return nil, "", nil, err
			}
			return b, c.URL, b.Close, nil
		}},
		"nats": {takes: []string{"url", "credentials", "ca", "folder", "bucket", "replicas"}, open: openNATSArtifacts},
	}
}

func openNATSArtifacts(ctx context.Context, c *artifactsConfig, state string) (driver.Bucket, string, func() error, error) {
	config := natsserver.Config{URL: c.URL, Credentials: c.Credentials, CA: c.CA, Folder: c.Folder}
	if c.URL == "" {
		config.Folder = cmp.Or(c.Folder, filepath.Join(state, "nats"))
	}
	server, err := natsserver.Open(ctx, config)
	if err != nil {
		return nil, "", nil, err
	}
	b, err := natsartifacts.NewBucket(ctx, server.JetStream(), natsartifacts.Options{Name: c.Bucket, Replicas: c.Replicas, Lock: c.lock})
	if err != nil {
		return nil, "", nil, errors.Join(err, server.Close())
	}
	return b, cmp.Or(config.URL, config.Folder), server.Close, nil
}

// openedArtifacts is an opened store.
type openedArtifacts struct {
	store *artifacts.Store
	where string
	close func() error
}

// openArtifacts opens a backend with its configuration, in which path resolves the members that
// are paths. Locks, where it is not nil, keep other processes apart.
func openArtifacts(ctx context.Context, name string, config map[string]any, state string, locks func() *Locks, path func(config map[string]any, key string) error) (*openedArtifacts, error) {
	backend := artifactBackends()[name]
	takes := append([]string{"max_size", "max_reply", "tenant_bytes", "identities"}, backend.takes...)
	refuse := func(why string, err error) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of artifacts cannot be used", Why: kernel.Quote(why), Fix: "adapter " + name + " takes " + strings.Join(takes, ", "), Err: err}
	}
	for member := range config {
		if !slices.Contains(takes, member) {
			return nil, refuse("it has no member "+member, nil)
		}
	}
	for _, member := range []string{"root", "identities", "folder", "credentials", "ca"} {
		if err := path(config, member); err != nil {
			return nil, err
		}
	}
	var c artifactsConfig
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, refuse(err.Error(), err)
	}
	if c.Prefix != "" && !strings.HasSuffix(c.Prefix, "/") {
		c.Prefix += "/"
	}
	if min(c.MaxSize, c.MaxReply, c.TenantBytes) < 0 {
		return nil, refuse("a limit is negative", nil)
	}
	if locks != nil {
		c.lock = leaselock.New(locks, name).Lock // of one name for all such buckets: how a URL is spelled does not matter
	}
	bucket, where, release, err := backend.open(ctx, &c, state)
	if err != nil {
		return nil, place(err, kernel.Where{})
	}
	if c.Identities != "" {
		if bucket, err = encrypt(bucket, c.Identities); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	// Shared with locks, too: a lease is not mutual exclusion.
	store := artifacts.New(bucket, artifacts.Options{MaxSize: c.MaxSize, MaxReply: c.MaxReply, TenantBytes: c.TenantBytes, Shared: name != "file" && name != "memory", Serial: locks != nil})
	return &openedArtifacts{store: store, where: where, close: release}, nil
}

// encrypt keeps what is in a bucket encrypted, to the keys in a file.
func encrypt(bucket driver.Bucket, file string) (driver.Bucket, error) {
	refuse := func(err error) error {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the keys of the artifacts cannot be read", Where: kernel.Where{File: file}, Why: kernel.Quote(err.Error()),
			Fix: "make the file with 'hexdag artifacts keygen FILE', or age-keygen; for another key, put it first and keep the old one", Err: err}
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, refuse(err)
	}
	keys, err := encrypted.ParseIdentities(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, refuse(err)
	}
	sealed, err := encrypted.NewBucket(bucket, keys...)
	if err != nil {
		return nil, refuse(err)
	}
	return sealed, nil
}

// artifactAdapters lists the adapters of the artifacts port.
func artifactAdapters() map[string]opener {
	adapters := map[string]opener{}
	for name := range artifactBackends() {
		adapters[name] = func(o opening, config map[string]any, dir string) ([]ports.Op, error) {
			if o.own && name != "file" && name != "memory" { // with the operator's credentials
				return nil, &kernel.Error{Code: kernel.CodeConfig, What: "the adapter " + name + " of artifacts is not for a pipeline to open", Why: "it would use the operator's credentials", Fix: "have the operator configure the port, or use file or memory"}
			}
			if root, _ := config["root"].(string); o.own && name == "file" && root == "" {
				return nil, noPath("root")
			}
			var locks func() *Locks
			if serialises(o.host.config, name) {
				locks = o.host.Locks // which are opened later, and before anything is stored
			}
			s, err := openArtifacts(o.ctx, name, config, stateOf(o.host.config), locks, o.pathIn(dir))
			if err != nil {
				return nil, err
			}
			o.closers.add(func(context.Context) error { return s.close() })
			if s.where != "" {
				o.host.storesIn("artifacts", s.where)
			}
			if !o.own && o.host.artifacts == nil {
				o.host.artifacts = s.store
			}
			return s.store.Ops(), nil
		}
	}
	return adapters
}

// pathIn is path for a folder.
func (o opening) pathIn(dir string) func(config map[string]any, key string) error {
	return func(config map[string]any, key string) error { return o.path(config, key, dir) }
}

// storesIn notes where a port keeps what it keeps, without the credentials that a URL may have.
func (h *Host) storesIn(port, where string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stores[port] = clouds.WithoutParameters(where)
}
