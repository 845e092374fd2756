// Package signing signs OPA bundles and verifies their signatures, as opa sign
// does: .signatures.json has one JWT with a SHA-256 of each file. Keys are PEM:
// RSA (RS256), ECDSA (ES256, ES384, ES512) or Ed25519 (EdDSA). There are no shared
// secrets, as with one whoever verifies could sign.
package signing

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/hexdag/hexdag/host/extension/policy"
	"github.com/hexdag/hexdag/host/kernel"
)

const (
	signaturesFile = ".signatures.json"
	keyID          = "hexdag"
	hash           = bundle.HashingAlgorithm("SHA-256")
)

// Sign returns the bundle with a signature by the private key. One that it has is
// replaced. The name is for errors.
func Sign(name string, raw, privateKey []byte) ([]byte, error) {
	entries, err := policy.Unpack(name, raw)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmOf(privateKey)
	if err != nil {
		return nil, badKey(err)
	}
	delete(entries, signaturesFile)
	files, err := digests(entries)
	if err != nil {
		return nil, invalid(name, "the bundle cannot be signed", err)
	}
	token, err := bundle.GenerateSignedToken(files, bundle.NewSigningConfig(string(privateKey), algorithm, ""), keyID)
	if err != nil {
		return nil, invalid(name, "the bundle cannot be signed", err)
	}
	signatures, err := json.Marshal(bundle.SignaturesConfig{Signatures: []string{token}})
	if err != nil {
		return nil, err
	}
	entries[signaturesFile] = signatures
	return pack(entries)
}

// Verify returns an error unless the bundle is signed by the public key and each of
// its files is as it was signed, none more and none less.
func Verify(name string, raw, publicKey []byte) error {
	algorithm, err := algorithmOf(publicKey)
	if err != nil {
		return badKey(err)
	}
	if bytes.HasPrefix(raw, []byte("\x00asm")) {
		return invalid(name, "the policy is not signed", errors.New("a bare module has no place for a signature"))
	}
	entries, err := policy.Unpack(name, raw)
	if err != nil {
		return err
	}
	signatures, ok := entries[signaturesFile]
	if !ok {
		return invalid(name, "the policy is not signed", errors.New("the bundle has no "+signaturesFile))
	}
	delete(entries, signaturesFile)
	if err := verify(entries, signatures, publicKey, algorithm); err != nil {
		return invalid(name, "the policy's signature is wrong", err)
	}
	return nil
}

func verify(entries map[string][]byte, signatures, publicKey []byte, algorithm string) error {
	var config bundle.SignaturesConfig
	if err := kernel.UnmarshalStrict(signatures, &config); err != nil {
		return err
	}
	if config.Plugin != "" && config.Plugin != "_default" { // OPA signs with its name for its own
		return fmt.Errorf("it asks for another verifier, %q", config.Plugin)
	}
	key := &bundle.KeyConfig{Key: string(publicKey), Algorithm: algorithm}
	files, err := bundle.VerifyBundleSignature(config, bundle.NewVerificationConfig(map[string]*bundle.KeyConfig{keyID: key}, keyID, "", nil))
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if err := bundle.VerifyBundleFile(name, *bytes.NewBuffer(entries[name]), files); err != nil {
			return err
		}
	}
	if len(files) > 0 {
		return fmt.Errorf("signed files are missing: %s", strings.Join(slices.Sorted(maps.Keys(files)), ", "))
	}
	return nil
}

// digests hashes files as OPA does: documents by what they say, the rest by its bytes.
func digests(entries map[string][]byte) ([]bundle.FileInfo, error) {
	hasher, err := bundle.NewSignatureHasher(hash)
	if err != nil {
		return nil, err
	}
	var files []bundle.FileInfo
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		var content any = entries[name]
		if bundle.IsStructuredDoc(name) {
			if err := util.Unmarshal(entries[name], &content); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		sum, err := hasher.HashFile(content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, bundle.NewFile(name, hex.EncodeToString(sum), string(hash)))
	}
	return files, nil
}

// pack writes a bundle. Equal files give equal bytes.
func pack(entries map[string][]byte) ([]byte, error) {
	var out bytes.Buffer
	zipped := gzip.NewWriter(&out)
	archive := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		header := &tar.Header{Name: "/" + name, Mode: 0o600, Typeflag: tar.TypeReg, Size: int64(len(entries[name]))}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(entries[name]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(archive.Close(), zipped.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// algorithmOf says how a key signs, from its kind and never from what is signed.
func algorithmOf(text []byte) (string, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("it is not PEM")
	}
	key, err := parse(block)
	if err != nil {
		return "", err
	}
	switch key := key.(type) {
	case *rsa.PublicKey, *rsa.PrivateKey:
		return "RS256", nil
	case ed25519.PublicKey, ed25519.PrivateKey:
		return "EdDSA", nil
	case *ecdsa.PublicKey:
		return ecdsaAlgorithm(key)
	case *ecdsa.PrivateKey:
		return ecdsaAlgorithm(&key.PublicKey)
	}
	return "", fmt.Errorf("keys of type %T are not offered", key)
}

func ecdsaAlgorithm(key *ecdsa.PublicKey) (string, error) {
	switch key.Curve.Params().BitSize {
	case 256:
		return "ES256", nil
	case 384:
		return "ES384", nil
	case 521:
		return "ES512", nil
	}
	return "", fmt.Errorf("the curve %s is not offered", key.Curve.Params().Name)
}

func parse(block *pem.Block) (any, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("it holds a %s", kernel.Quote(block.Type))
}

func badKey(err error) error {
	return &kernel.Error{Code: kernel.CodeConfig, What: "the key cannot be used", Why: kernel.Quote(err.Error()),
		Fix: "give a PEM file with an RSA, ECDSA or Ed25519 key, as openssl genpkey -algorithm ed25519 makes", Err: err}
}

func invalid(name, what string, err error) error {
	return &kernel.Error{Code: kernel.CodePolicy, What: what, Where: kernel.Where{File: name}, Why: kernel.Quote(err.Error()),
		Fix: "sign the bundle with hexdag policy sign, and give the key that belongs to it", Err: err}
}
