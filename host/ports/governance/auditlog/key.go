package auditlog

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"github.com/hexdag/hexdag/host/kernel"
)

const keyName = "hexdag-audit"

// key signs checkpoints.
type key struct {
	signer   note.Signer
	verifier string // the public part, as a note verifier key
}

// loadKey reads the private key for the log in dir, and makes one if it is
// absent and the log is new.
func loadKey(file, dir string, mayCreate bool) (*key, error) {
	if file == "" {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, badKey("", "the audit log's key has no place", err.Error(), "name a key file")
		}
		file = filepath.Join(config, "hexdag", "audit.key")
	}
	if inside(file, dir) {
		return nil, badKey(file, "the audit log's private key lies in the log", "who can change the log could sign the change", "name a key file outside "+dir)
	}
	k, err := readKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if !mayCreate {
		return nil, badKey(file, "the audit log's private key is missing", "the log exists, and only the key that it was made with continues it", "restore the key file, or start a log in another directory")
	}
	if err := createKey(file); err != nil {
		return nil, badKey(file, "the audit log's private key cannot be made", err.Error(), "")
	}
	return readKey(file)
}

func inside(file, dir string) bool {
	absFile, err1 := filepath.Abs(file)
	absDir, err2 := filepath.Abs(dir)
	rel, err3 := filepath.Rel(absDir, absFile)
	return err1 == nil && err2 == nil && err3 == nil && filepath.IsLocal(rel)
}

func readKey(file string) (*key, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, badKey(file, "the audit log's private key cannot be read", err.Error(), "")
	}
	if perm := info.Mode().Perm(); perm&0o007 != 0 && runtime.GOOS != "windows" {
		return nil, badKey(file, "the audit log's private key is open to every user", fmt.Sprintf("its mode is %04o", perm), "chmod 600 "+file)
	}
	k, err := parseKey(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, badKey(file, "the audit log's private key is no note signer key", err.Error(), "")
	}
	return k, nil
}

// parseKey reads "PRIVATE+KEY+name+hash+base64(algorithm, seed)".
func parseKey(text string) (*key, error) {
	signer, err := note.NewSigner(text)
	if err != nil {
		return nil, err
	}
	parts := strings.SplitN(text, "+", 5)
	secret, err := base64.StdEncoding.DecodeString(parts[4])
	if err != nil {
		return nil, err
	}
	public := ed25519.NewKeyFromSeed(secret[1:]).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(signer.Name(), public)
	return &key{signer: signer, verifier: verifier}, err
}

// createKey writes a new key whole or not at all, and leaves one that another
// process has written meanwhile.
func createKey(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	private, _, err := note.GenerateKey(rand.Reader, keyName)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), ".audit-key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	_, err = temp.WriteString(private + "\n")
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), file); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func badKey(file, what, why, fix string) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: what, Where: kernel.Where{File: file}, Why: why, Fix: fix}
}
