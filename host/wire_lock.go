package host

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/natsserver"
	"github.com/hexdag/hexdag/host/pipeline"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/lock"
	"github.com/hexdag/hexdag/host/ports/lock/consullock"
	"github.com/hexdag/hexdag/host/ports/lock/driver"
	"github.com/hexdag/hexdag/host/ports/lock/etcdlock"
	"github.com/hexdag/hexdag/host/ports/lock/memlock"
	"github.com/hexdag/hexdag/host/ports/lock/natslock"
	"github.com/hexdag/hexdag/host/ports/lock/postgreslock"
	"github.com/hexdag/hexdag/host/ports/lock/redislock"
)

type (
	// Locks hands out locks; see package lock.
	Locks = lock.Locks
	// LockHolder is a permit of a lock that somebody holds.
	LockHolder = lock.Held
	// LockOwner says who holds it.
	LockOwner = lock.Owner
)

// lockLimits are the members that every adapter of the lock port has, in seconds.
type lockLimits struct {
	TTL     float64 `json:"ttl"`
	MaxTTL  float64 `json:"max_ttl"`
	MaxHeld int     `json:"max_held"`
}

func (l lockLimits) options() lock.Options {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return lock.Options{TTL: seconds(l.TTL), MaxTTL: seconds(l.MaxTTL), MaxHeld: l.MaxHeld}
}

// lockOpener opens a store with the rest of an adapter's configuration.
type lockOpener func(ctx context.Context, config map[string]any, connect natsConnector) (driver.Store, error)

// natsConnector connects to NATS. onClose, which may be nil, is what whoever asked calls in the end.
type natsConnector func(ctx context.Context, c natsserver.Config) (s *natsserver.Server, onClose func() error, err error)

// sharedNATS is the connection of all ports of the host, which closes it.
func (h *Host) sharedNATS(ctx context.Context, c natsserver.Config) (*natsserver.Server, func() error, error) {
	s, err := h.nats(ctx, c)
	return s, nil, err
}

// ownNATS is a connection of one's own.
func ownNATS(ctx context.Context, c natsserver.Config) (*natsserver.Server, func() error, error) {
	s, err := natsserver.Open(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	return s, s.Close, nil
}

// lockStores lists the adapters of the lock port.
func lockStores() map[string]lockOpener {
	return map[string]lockOpener{
		"memory": func(_ context.Context, config map[string]any, _ natsConnector) (driver.Store, error) {
			return memlock.New(), readLockConfig(config, &struct{}{}, "nothing else")
		},
		"postgres": func(ctx context.Context, config map[string]any, _ natsConnector) (driver.Store, error) {
			var c postgreslock.Config
			if err := readLockConfig(config, &c, "url and table"); err != nil {
				return nil, err
			}
			return opened(postgreslock.Open(ctx, c))
		},
		"redis": func(ctx context.Context, config map[string]any, _ natsConnector) (driver.Store, error) {
			var c redislock.Config
			if err := readLockConfig(config, &c, "url and prefix"); err != nil {
				return nil, err
			}
			return opened(redislock.Open(ctx, c))
		},
		"etcd": func(ctx context.Context, config map[string]any, _ natsConnector) (driver.Store, error) {
			var c etcdlock.Config
			if err := readLockConfig(config, &c, "endpoints, prefix, username, password and ca"); err != nil {
				return nil, err
			}
			return opened(etcdlock.Open(ctx, c))
		},
		"consul": func(ctx context.Context, config map[string]any, _ natsConnector) (driver.Store, error) {
			var c consullock.Config
			if err := readLockConfig(config, &c, "address, token and prefix"); err != nil {
				return nil, err
			}
			return opened(consullock.Open(ctx, c))
		},
		"nats": openNATSLocks,
	}
}

// opened is a store, or nil where there is an error.
func opened[S driver.Store](s S, err error) (driver.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// openNATSLocks keeps locks in a cluster's JetStream or in the server in this process, which the processes of a folder share.
func openNATSLocks(ctx context.Context, config map[string]any, connect natsConnector) (driver.Store, error) {
	var bucket natslock.Config
	var server natsserver.Config
	ours, rest := split(config, "bucket", "replicas")
	const takes = "url, credentials, ca, folder, sync_always, max_bytes, bucket and replicas"
	if err := errors.Join(readLockConfig(ours, &bucket, takes), readLockConfig(rest, &server, takes)); err != nil {
		return nil, err
	}
	s, onClose, err := connect(ctx, server)
	if err != nil {
		return nil, err
	}
	store, err := natslock.Open(ctx, s.JetStream(), bucket, onClose)
	if err != nil && onClose != nil {
		err = errors.Join(err, onClose())
	}
	return opened(store, err)
}

func readLockConfig(config map[string]any, c any, takes string) error {
	if err := kernel.FromValue(config, c); err != nil {
		return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of lock cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes ttl, max_ttl, max_held and, for this adapter, " + takes, Err: err}
	}
	return nil
}

// split returns the members of these names, and the others.
func split(config map[string]any, names ...string) (named, rest map[string]any) {
	named, rest = map[string]any{}, map[string]any{}
	for member, v := range config {
		if slices.Contains(names, member) {
			named[member] = v
		} else {
			rest[member] = v
		}
	}
	return named, rest
}

// maxTTL is the longest TTL that an adapter has; 0 is no limit.
func maxTTL(adapter string) time.Duration {
	if adapter == "consul" {
		return consullock.MaxTTL
	}
	return 0
}

// openLocks opens an adapter of the lock port.
func openLocks(ctx context.Context, name string, config map[string]any, connect natsConnector) (*Locks, error) {
	open, ok := lockStores()[name]
	if !ok {
		return nil, &kernel.Error{Code: kernel.CodeConfig, What: "port lock has no adapter " + kernel.Quote(name), Fix: "known are " + strings.Join(slices.Sorted(maps.Keys(lockStores())), ", ")}
	}
	limits, rest := split(config, "ttl", "max_ttl", "max_held")
	var l lockLimits
	if err := readLockConfig(limits, &l, "members of its own"); err != nil {
		return nil, err
	}
	if err := l.options().Check(); err != nil {
		return nil, err
	}
	if err := l.options().Within(maxTTL(name)); err != nil {
		return nil, err
	}
	store, err := open(ctx, rest, connect)
	if err != nil {
		return nil, err
	}
	return lock.New(store, l.options()), nil
}

// lockPaths resolves the paths of an adapter's configuration.
func (o opening) lockPaths(name string, config map[string]any, dir string) error {
	if name == "nats" {
		return o.natsPaths(config, dir)
	}
	return o.path(config, "ca", dir)
}

// lockAdapter is the opener of an adapter of the lock port.
func lockAdapter(name string) opener {
	return func(o opening, config map[string]any, dir string) ([]ports.Op, error) {
		if err := o.lockPaths(name, config, dir); err != nil {
			return nil, err
		}
		locks, err := openLocks(o.ctx, name, config, o.host.sharedNATS)
		if err != nil {
			return nil, err
		}
		o.closers.add(func(context.Context) error { return locks.Close() })
		if o.host.locks == nil {
			o.host.locks = locks
		}
		return locks.Ops(), nil
	}
}

// checkLock: locks that a pipeline brings itself would keep nobody else out, and a pool of
// them would give one lock to several holders.
func checkLock(specs map[string]pipeline.PortSpec, operator bool) error {
	spec, ok := specs["lock"]
	switch {
	case !ok:
	case !operator:
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "a pipeline cannot bring its own lock port", Why: "its locks would keep nobody else out", Fix: "have the operator configure it in hexdag.yaml"}, spec.Where)
	case len(spec.Pool) > 0:
		return place(&kernel.Error{Code: kernel.CodeConfig, What: "the lock port takes no pool of adapters", Why: "each would give the same lock to another holder", Fix: "name one adapter"}, spec.Where)
	}
	return nil
}

// Locks returns the host's locks.
func (h *Host) Locks() *Locks { return h.locks }

// OpenLocks opens the locks that a configuration names, without its host. The caller closes them. Those that are kept in a
// host's process are not to be had from another one, which is a CodeUnsupported error.
func OpenLocks(ctx context.Context, cfg *Config) (locks *Locks, tenant string, err error) {
	spec := cfg.Ports["lock"]
	adapter := cmp.Or(spec.Adapter, "memory")
	if adapter == "memory" {
		return nil, "", &kernel.Error{Code: kernel.CodeUnsupported, What: "there are no locks to see from here", Where: kernel.Where{File: cfg.File}, Why: "the lock port's adapter memory keeps them in the process that runs pipelines", Fix: "configure ports: {lock: {adapter: nats}} or another one that processes share; a pipeline reads lock.holder"}
	}
	h := &Host{config: cfg, state: stateOf(cfg)}
	o := opening{host: h, ctx: ctx, closers: &h.closers, file: cfg.File}
	config, err := o.secrets(spec.Config)
	if err != nil {
		return nil, "", place(err, spec.Where)
	}
	if _, err := adapterOf("lock", spec); err != nil {
		return nil, "", place(err, spec.Where)
	}
	if err := o.lockPaths(adapter, config, filepath.Dir(cfg.File)); err != nil {
		return nil, "", place(err, spec.Where)
	}
	locks, err = openLocks(ctx, adapter, config, ownNATS)
	return locks, h.tenant(), place(err, spec.Where)
}
