package regoc

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/open-policy-agent/opa/v1/bundle"

	"github.com/hexdag/hexdag/host/kernel"
)

// Write writes the policy to a file: the bare module if its name ends in .wasm,
// and then without the data, else an OPA bundle. What was there stays whole until
// what is new is.
func (a *Artifact) Write(name string) error {
	content := a.Wasm
	if filepath.Ext(name) != ".wasm" {
		var err error
		if content, err = a.Bundle(); err != nil {
			return err
		}
	}
	return WriteFile(name, content)
}

// WriteFile writes a policy's file. What was there stays whole until what is new is.
func WriteFile(name string, content []byte) error {
	if err := writeFile(name, content); err != nil {
		return &kernel.Error{Code: kernel.CodeFailed, What: "the policy cannot be written", Where: kernel.Where{File: name}, Why: err.Error(), Err: err}
	}
	return nil
}

// Bundle returns the policy as an OPA bundle: policy.wasm, data.json, .manifest
// and the sources, less the entrypoints, as OPA itself has them. Equal policies
// give equal bytes.
func (a *Artifact) Bundle() ([]byte, error) {
	var out bytes.Buffer
	if err := bundle.NewWriter(&out).Write(*a.bundle); err != nil {
		return nil, buildError(err)
	}
	return out.Bytes(), nil
}

func writeFile(name string, content []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(name), ".policy-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // fails, as it should, once renamed
	_, err = temp.Write(content)
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(temp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	return err
}
