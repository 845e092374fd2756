package host

import (
	"context"
	"errors"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/ports/secret"
	"github.com/hexdag/hexdag/host/ports/secret/agesecret"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
	"github.com/hexdag/hexdag/host/ports/secret/envsecret"
	"github.com/hexdag/hexdag/host/ports/secret/vaultsecret"
)

// secretsConfig is what the secret port's adapters have in common.
type secretsConfig struct {
	Secrets map[string]secret.Spec `json:"secrets"`
}

func secretsProblem(err error, takes string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the configuration of secret cannot be used", Why: kernel.Quote(err.Error()), Fix: "it takes secrets: {NAME: {from: ..., hosts: [...]}}" + takes, Err: err}
}

func openEnvSecrets(o opening, config map[string]any, _ string) ([]ports.Op, error) {
	var c secretsConfig
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, secretsProblem(err, "")
	}
	return o.keepSecrets(envsecret.New(), c.Secrets)
}

func openAgeSecrets(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := errors.Join(o.path(config, "file", dir), o.path(config, "identity_file", dir)); err != nil {
		return nil, err
	}
	var c struct {
		secretsConfig
		agesecret.Config
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, secretsProblem(err, ", file and identity_file, identity_env or passphrase_env")
	}
	store, err := agesecret.Open(o.ctx, c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepSecrets(store, c.Secrets)
}

func openVaultSecrets(o opening, config map[string]any, dir string) ([]ports.Op, error) {
	if err := errors.Join(o.path(config, "token_file", dir), o.path(config, "ca_file", dir)); err != nil {
		return nil, err
	}
	var c struct {
		secretsConfig
		vaultsecret.Config
	}
	if err := kernel.FromValue(config, &c); err != nil {
		return nil, secretsProblem(err, ", url, mount, namespace, token_env or token_file, ca_file, ttl and timeout")
	}
	store, err := vaultsecret.New(c.Config)
	if err != nil {
		return nil, err
	}
	return o.keepSecrets(store, c.Secrets)
}

// keepSecrets has a store closed in the end, with its secrets or without.
func (o opening) keepSecrets(store driver.Store, specs map[string]secret.Spec) ([]ports.Op, error) {
	secrets, err := secret.New(store, specs)
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	o.closers.add(func(context.Context) error { return secrets.Close() })
	return secrets.Ops(), nil
}
