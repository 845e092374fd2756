package redteam

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/sandbox"
)

// What the host answers to a module that it does not take.
const (
	invalid  = string(kernel.CodeModuleInvalid)
	refused  = string(kernel.CodeModuleInvalid) + "|" + string(kernel.CodeLimit)
	badName  = string(kernel.CodeModuleImport)
	badPoint = string(kernel.CodeModuleExport)
	noGrant  = string(kernel.CodeModuleGrant)
)

// loadCases are group A but for what takes long to compile: a module is refused
// before anything of it runs.
func loadCases() []Case {
	truncated := func() []byte { return wasm("probe")[:1000] }
	return []Case{
		{ID: "A1a", What: "is cut off", Source: "probe.wat", Want: invalid, attack: loadingBytes(truncated)},
		{ID: "A1b", What: "is no module at all", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return []byte("#!/bin/sh\nrm -rf /\n") })},
		{ID: "A1c", What: "is a component", Source: "generated", Want: string(kernel.CodeModuleComponent), attack: loadingBytes(func() []byte { return []byte("\x00asm\x0d\x00\x01\x00") })},
		{ID: "A1d", What: "is garbage behind a header", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return []byte("\x00asm\x01\x00\x00\x00\x01\xff\xff\xff\xff\x0f") })},
		{ID: "A2a", What: "has 200 MB", Source: "generated", Want: string(kernel.CodeModuleNotFound) + "|" + refused, Memory: 16 << 20, attack: hugeFile},
		{ID: "A2b", What: "is an endless device", Source: "generated", Want: string(kernel.CodeModuleNotFound), Memory: 16 << 20, attack: device},
		{ID: "A7a", What: "imports what nobody offers", Source: "evil-import.wat", Want: badName, attack: loading(guest{name: "evil-import"})},
		{ID: "A7b", What: "imports a socket from WASI", Source: "wasi-socket.wat", Want: badName, attack: loading(guest{name: "wasi-socket"})},
		{ID: "A7c", What: "imports an older WASI", Source: "wasi-preview0.wat", Want: badName, attack: loading(guest{name: "wasi-preview0"})},
		{ID: "A7d", What: "imports the door and requests nothing", Source: "ungranted-call.wat", Want: noGrant, attack: loading(guest{name: "ungranted-call"})},
		{ID: "A7e", What: "requests more than it is granted", Source: "ungranted-call.wat", Want: noGrant, attack: loading(guest{name: "ungranted-call", requests: []any{"test.echo"}, grants: []any{}})},
		{ID: "A7f", What: "imports a global that others could share", Source: "global-import.wat", Want: badName + "|" + invalid, attack: loading(guest{name: "global-import"})},
		{ID: "A8", What: "imports under names that a terminal obeys", Source: "ansi-import.wat", Want: badName, attack: loading(guest{name: "ansi-import"})},
		{ID: "A9a", What: "is for a future version of the ABI", Source: "future-version.wat", Want: badName, attack: loading(guest{name: "future-version"})},
		{ID: "A9b", What: "imports with another signature", Source: "wrong-import.wat", Want: badName, attack: loading(guest{name: "wrong-import"})},
		{ID: "A9c", What: "exports with another signature", Source: "wrong-export.wat", Want: badPoint, attack: loading(guest{name: "wrong-export"})},
		{ID: "A9d", What: "wants arguments for _initialize", Source: "wrong-init.wat", Want: badPoint, attack: loading(guest{name: "wrong-init"})},
		{ID: "A9e", What: "exports no memory", Source: "no-memory.wat", Want: badPoint, attack: loading(guest{name: "no-memory"})},
		{ID: "A9f", What: "imports its memory", Source: "memory-import.wat", Want: badName + "|" + invalid, attack: loading(guest{name: "memory-import"})},
		{ID: "A9g", What: "exports a name twice", Source: "generated", Want: invalid, attack: loadingBytes(twiceTheExport)},
		{ID: "A11a", What: "uses tail calls", Source: "tail-call.wat", Want: invalid, attack: loading(guest{name: "tail-call"})},
		{ID: "A11b", What: "uses threads", Source: "threads.wat", Want: invalid, attack: loading(guest{name: "threads"})},
		{ID: "A11c", What: "uses a 64-bit memory", Source: "memory64.wat", Want: invalid, attack: loading(guest{name: "memory64"})},
		{ID: "A11d", What: "uses exceptions", Source: "exceptions.wat", Want: invalid, attack: loading(guest{name: "exceptions"})},
		{ID: "A11e", What: "has a second memory", Source: "multi-memory.wat", Want: invalid, attack: loading(guest{name: "multi-memory"})},
		{ID: "A12", What: "has the pinned code and another custom section", Source: "canary.wat", Want: invalid, attack: otherSection},
		{ID: "A13a", What: "has two manifests", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return withManifests(manifest(""), manifest("")) })},
		{ID: "A13b", What: "has a member twice in its manifest", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return withManifests(manifest(`,"name":"b"`)) })},
		{ID: "A13c", What: "has a manifest with an unknown member", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return withManifests(manifest(`,"grants":["test.echo"]`)) })},
		{ID: "A13d", What: "has a manifest of 10 MB", Source: "generated", Want: refused, attack: loadingBytes(func() []byte {
			return withManifests(manifest(`,"description":"` + strings.Repeat("x", 10<<20) + `"`))
		})},
		{ID: "A13e", What: "has a name that is a path", Source: "generated", Want: invalid, attack: loadingBytes(func() []byte { return withManifests(`{"name":"../../etc","version":"1.0.0"}`) })},
		{ID: "A14b", What: "runs from a cache whose entries are broken", Source: "canary.wat", Want: "compiled anew", attack: brokenCache},
		{ID: "A14a", What: "runs with a cache that others can write to", Source: "generated", Want: "internal|config.invalid", attack: openCache},
	}
}

func manifest(more string) string { return `{"name":"a","version":"1.0.0"` + more + `}` }

// hugeFile is a file with a hole: it takes no room until someone reads it.
func hugeFile(ctx context.Context, s *site) string {
	file := filepath.Join(s.dir, "huge.wasm")
	if err := os.WriteFile(file, []byte("\x00asm\x01\x00\x00\x00"), 0o600); err != nil {
		return err.Error()
	}
	if err := os.Truncate(file, 200<<20); err != nil {
		return err.Error()
	}
	_, err := s.loadFile(ctx, file, guest{name: "huge"})
	return shown(err)
}

func device(ctx context.Context, s *site) string {
	_, err := s.loadFile(ctx, "/dev/zero", guest{name: "device"})
	return shown(err)
}

// otherSection pins a module and then loads it with a section more.
func otherSection(ctx context.Context, s *site) string {
	pinned, err := s.load(ctx, guest{name: "canary"})
	if err != nil {
		return err.Error()
	}
	altered, err := abi.AppendCustomSection(wasm("canary"), "signature", []byte("valid"))
	if err != nil {
		return err.Error()
	}
	_, err = s.load(ctx, guest{wasm: altered, digest: pinned.Digest()})
	return shown(err)
}

// openCache opens a runtime whose cache of compiled code is everybody's.
func openCache(ctx context.Context, s *site) string {
	dir := filepath.Join(s.dir, "cache")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err.Error()
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err.Error()
	}
	r, err := sandbox.New(ctx, sandbox.Options{CacheDir: dir})
	if err == nil {
		r.Close(ctx)
	}
	return answered(err, "taken")
}

// brokenCache damages every entry of a cache, and loads from it again.
func brokenCache(ctx context.Context, s *site) string {
	dir := filepath.Join(s.dir, "broken")
	load := func() error {
		r, err := sandbox.New(ctx, sandbox.Options{CacheDir: dir})
		if err != nil {
			return err
		}
		defer r.Close(ctx)
		m, err := r.Load(ctx, wasm("canary"), sandbox.LoadOptions{Name: "canary"})
		if err != nil {
			return err
		}
		defer m.Close(ctx)
		_, err = m.Call(ctx, sandbox.Call{Point: abi.PortBefore, Input: map[string]any{"args": map[string]any{"text": "chirp"}}})
		return err
	}
	if err := load(); err != nil {
		return err.Error()
	}
	broken := 0
	for _, damage := range []func(content []byte) []byte{
		func(content []byte) []byte { return content[:len(content)/2] },
		func(content []byte) []byte { content[len(content)/2] ^= 0xff; return content },
		func([]byte) []byte { return nil },
		func([]byte) []byte { return []byte(strings.Repeat("garbage", 1000)) },
	} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil || len(content) == 0 {
				return err
			}
			broken++
			return os.WriteFile(path, damage(content), 0o600)
		})
		if err == nil {
			err = load()
		}
		if err != nil {
			return err.Error()
		}
	}
	if broken < 4 {
		return fmt.Sprintf("%d entries were broken", broken)
	}
	return "compiled anew"
}

// quarantined has a module kill the process that compiles it.
func quarantined(ctx context.Context, s *site) string {
	dir := filepath.Join(s.dir, "quarantine")
	r, err := sandbox.New(ctx, sandbox.Options{CacheDir: dir, Worker: []string{"/bin/sh", "-c", "cat >/dev/null; kill -9 $$"}})
	if err != nil {
		return err.Error()
	}
	defer r.Close(ctx)
	for range 3 {
		if _, err = r.Load(ctx, wasm("canary"), sandbox.LoadOptions{Name: "canary"}); err == nil {
			return "taken"
		}
	}
	if !strings.Contains(err.Error(), "quarantined") {
		return shown(err)
	}
	return string(kernel.CodeOf(err))
}

// bombCases are what takes a compiler or a parser long. Each is refused by a
// limit before it is compiled, or stopped with the worker that compiles it.
func bombCases() []Case {
	bomb := func(id, what, want string, build func() []byte) Case {
		return Case{ID: id, What: what, Source: "generated", Want: want, Time: 3 * time.Second, Memory: 160 << 20, attack: loadingBytes(build)}
	}
	return []Case{
		bomb("A3a", "nests 300 loops around 600 locals", refused, func() []byte { return loopsAndLocals(300, 600) }),
		bomb("A3b", "nests 100,000 blocks", refused, func() []byte { return nestedBlocks(100_000) }),
		bomb("A3c", "branches 20,000 times over 1,000 locals", refused, func() []byte { return ifs(20_000, 1000) }),
		{ID: "A3d", What: "kills the process that compiles it, three times", Source: "canary.wat", Want: invalid, attack: quarantined},
		bomb("A4a", "has 200,000 functions", refused, func() []byte { return manyFunctions(200_000) }),
		bomb("A4b", "has 1,000,000 exports", refused, func() []byte { return manyExports(1_000_000) }),
		bomb("A4c", "has 300,000 names of functions that are not there", refused+"|taken", func() []byte { return manyNames(300_000) }),
		bomb("A4d", "says that it has 4,294,967,295 functions", refused, lyingCount),
		bomb("A5a", "has 50,000 locals", refused, func() []byte { return manyLocals(50_000) }),
		bomb("A5b", "says that it has 4,294,967,295 locals", refused, func() []byte { return manyLocals(1<<32 - 1) }),
		bomb("A6a", "has 1,000,000 data segments", refused, func() []byte { return manySegments(1_000_000, 0) }),
		bomb("A6b", "has 30 MB of data", refused, func() []byte { return manySegments(30, 1<<20) }),
		bomb("A6c", "has a table of 1,000,000 elements", refused, func() []byte { return giantElements(1_000_000) }),
	}
}
