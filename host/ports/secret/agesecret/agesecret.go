// Package agesecret has the secret port's values from a file that age encrypted
// (https://age-encryption.org), armored or not: YAML or JSON, a mapping of texts. A reference is a
// member's name. The file may be in a repository; its key is elsewhere.
//
// The file is read again when it has changed.
package agesecret

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/goccy/go-yaml"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
)

// maxFile is how many bytes the file has at most, decrypted or not.
const maxFile = 4 << 20

// Config names the file and what opens it: one of the three.
type Config struct {
	File          string `json:"file"`
	IdentityFile  string `json:"identity_file"`  // with lines AGE-SECRET-KEY-1..., as age-keygen writes it
	IdentityEnv   string `json:"identity_env"`   // the environment variable that has such a line
	PassphraseEnv string `json:"passphrase_env"` // the one that has the passphrase
}

type store struct {
	file       string
	identities []age.Identity

	mu     sync.Mutex
	read   os.FileInfo
	values map[string]string // nil when closed
	closed bool
}

// Open decrypts the file once. What is wrong with the configuration, the key or the file is
// CodeConfig.
func Open(ctx context.Context, cfg Config) (driver.Store, error) {
	identities, err := cfg.identities()
	if err != nil {
		return nil, err
	}
	s := &store{file: cfg.File, identities: identities}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refresh(ctx); err != nil {
		var known *kernel.Error
		if errors.As(err, &known) {
			known.Code = kernel.CodeConfig
		}
		return nil, err
	}
	return s, nil
}

func configError(fix, format string, args ...any) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the age secrets' configuration: " + fmt.Sprintf(format, args...), Fix: fix}
}

func (cfg Config) identities() ([]age.Identity, error) {
	const fix = "name one of identity_file, identity_env and passphrase_env"
	given := 0
	for _, text := range []string{cfg.IdentityFile, cfg.IdentityEnv, cfg.PassphraseEnv} {
		if text != "" {
			given++
		}
	}
	switch {
	case cfg.File == "":
		return nil, configError("write file: secrets.age", "file is missing")
	case given != 1:
		return nil, configError(fix, "%d of the three keys are there", given)
	case cfg.PassphraseEnv != "":
		passphrase, err := env(cfg.PassphraseEnv)
		if err != nil {
			return nil, err
		}
		identity, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, configError("", "the passphrase cannot be used")
		}
		return []age.Identity{identity}, nil
	}
	where := "identity_env"
	var keys string
	var err error
	if cfg.IdentityEnv != "" {
		keys, err = env(cfg.IdentityEnv)
	} else {
		where = "identity_file"
		keys, err = readKeys(cfg.IdentityFile)
	}
	if err != nil {
		return nil, err
	}
	identities, err := age.ParseIdentities(strings.NewReader(keys))
	if err != nil { // whose words may hold the key
		return nil, configError("make one with age-keygen", "%s has no line AGE-SECRET-KEY-1...", where)
	}
	return identities, nil
}

func env(name string) (string, error) {
	value := os.Getenv(name)
	if value == "" {
		return "", configError("set it", "the environment variable %s is not set", kernel.Quote(name))
	}
	return value, nil
}

func readKeys(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", configError("", "identity_file: %s", kernel.Quote(err.Error()))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return "", configError("", "identity_file: %s", kernel.Quote(err.Error()))
	}
	return string(data), nil
}

// Check implements driver.Store.
func (s *store) Check(ref string) error {
	if len(ref) > 1000 {
		return errors.New("it is too long")
	}
	return nil
}

// Get implements driver.Store.
func (s *store) Get(ctx context.Context, ref string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", errors.New("the store is closed")
	}
	if err := s.refresh(ctx); err != nil {
		return "", err
	}
	value, ok := s.values[ref]
	if !ok {
		return "", driver.ErrNotFound
	}
	return value, nil
}

// refresh decrypts the file where it is not the one that was read.
func (s *store) refresh(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	fail := func(what, fix string) error {
		return &kernel.Error{Code: kernel.CodeUnavailable, What: "the file of the secrets " + what, Fix: fix}
	}
	f, err := os.Open(s.file)
	if err != nil {
		return fail("cannot be opened", "see that it is there and may be read")
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return fail("is no file", "name one that age wrote")
	}
	if s.values != nil && os.SameFile(info, s.read) && info.Size() == s.read.Size() && info.ModTime().Equal(s.read.ModTime()) {
		return nil
	}
	buffered := bufio.NewReader(io.LimitReader(f, maxFile))
	var in io.Reader = buffered
	if start, _ := buffered.Peek(len(armor.Header)); string(start) == armor.Header { // a shorter file is no armor
		in = armor.NewReader(buffered)
	}
	plain, err := age.Decrypt(in, s.identities...)
	if err != nil {
		return fail("cannot be decrypted", "encrypt it for this key: age -r age1... -o secrets.age secrets.yaml")
	}
	data, err := io.ReadAll(io.LimitReader(plain, maxFile+1))
	if err != nil || len(data) > maxFile {
		return fail("cannot be decrypted to its end", "it is cut or changed, or has more than 4 MiB")
	}
	values := map[string]string{}
	if err := yaml.Unmarshal(data, &values); err != nil { // whose words hold values
		return fail("holds no mapping of texts", `write lines as in stripe: "sk_..."`)
	}
	s.values, s.read = values, info
	return nil
}

// Close implements driver.Store.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.values = true, nil
	return nil
}
