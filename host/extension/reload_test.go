package extension_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/host/extension"
	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports"
	"github.com/hexdag/hexdag/host/testenv"
)

// versioned is a guest that answers its version, n.
func versioned(t testing.TB, n uint32, requests ...any) []byte {
	t.Helper()
	mark := []byte("VERSION=")
	wasm, err := os.ReadFile(filepath.Join("..", "redteam", "modules", "version.wasm"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(wasm, mark) + len(mark)
	binary.LittleEndian.PutUint32(wasm[at:], n)
	caps := make([]abi.Capability, len(requests))
	for i, r := range requests {
		if caps[i], err = abi.ParseCapability(r); err != nil {
			t.Fatal(err)
		}
	}
	if wasm, err = abi.EmbedManifest(wasm, &abi.Manifest{Name: "guest", Version: "1.0.0", Capabilities: caps}); err != nil {
		t.Fatal(err)
	}
	return wasm
}

// reloaded is a module whose file a test replaces.
type reloaded struct {
	*extension.Module
	t    testing.TB
	path string
}

func (s *site) reloaded(t testing.TB, door *ports.Door, spec extension.Spec) *reloaded {
	t.Helper()
	spec.Name, spec.Path = "guest", filepath.Join(t.TempDir(), "guest.wasm")
	spec.Grants = []abi.Capability{{Op: "test.echo"}}
	r := &reloaded{t: t, path: spec.Path}
	r.write(versioned(t, 1, "test.echo"))
	m, err := extension.Load(context.Background(), s.runtime, door, slog.New(s.log), spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close(context.Background()) })
	r.Module = m
	return r
}

func (r *reloaded) write(wasm []byte) {
	r.t.Helper()
	if err := os.WriteFile(r.path, wasm, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func admitAll(string) error { return nil }

// to replaces the module by its version n.
func (r *reloaded) to(n uint32) {
	r.t.Helper()
	r.write(versioned(r.t, n, "test.echo"))
	if changed, err := r.Reload(context.Background(), admitAll); err != nil || !changed {
		r.t.Fatalf("to version %d: changed %v, %v", n, changed, err)
	}
}

// version asks the module for its version in a run.
func (r *reloaded) version(run *kernel.RunContext) (int, error) {
	hook, err := r.PortHook()
	if err != nil {
		return 0, err
	}
	ctx := context.Background()
	if run != nil {
		ctx = kernel.WithRun(ctx, run)
	}
	v, err := hook.BeforePort(ctx, &kernel.PortCall{Op: "test.other", Args: map[string]any{}})
	return int(v.Delay / time.Millisecond), err
}

func (r *reloaded) want(run *kernel.RunContext, want int) {
	r.t.Helper()
	if got, err := r.version(run); err != nil || got != want {
		r.t.Errorf("version %d, want %d: %v", got, want, err)
	}
}

func TestReload(t *testing.T) {
	s := newSite(t)
	r := s.reloaded(t, s.door, extension.Spec{})
	begun, called, later := &kernel.RunContext{RunID: "begun"}, &kernel.RunContext{RunID: "called"}, &kernel.RunContext{RunID: "later"}
	r.BeginRun(begun)
	r.want(called, 1)
	r.to(2)
	r.want(begun, 1) // although it calls for the first time
	r.want(called, 1)
	r.want(later, 2)
	r.want(nil, 2)
	r.want(&kernel.RunContext{RunID: "child", ParentRunID: "begun"}, 1)
	r.to(3)
	r.want(later, 2)
	if n := r.Versions(); n != 3 {
		t.Errorf("%d versions are live, want 3", n)
	}
	for _, run := range []string{"begun", "called"} {
		r.EndRun(t.Context(), run)
	}
	r.want(&kernel.RunContext{RunID: "child", ParentRunID: "begun"}, 1) // goes on
	r.EndRun(t.Context(), "child")
	r.EndRun(t.Context(), "later")
	if n := r.Versions(); n != 1 {
		t.Errorf("with every run ended %d versions are live", n)
	}
	r.want(begun, 3) // another run of that name
	if changed, err := r.Reload(t.Context(), func(string) error { return errors.New("asked") }); changed || err != nil {
		t.Errorf("an unchanged file: %v, %v", changed, err)
	}
}

// A call under way ends with the version that it began with, which is freed then.
func TestReloadDrains(t *testing.T) {
	s := newSite(t)
	entered, release := make(chan struct{}), make(chan struct{})
	door := ports.NewDoor(s, s)
	var first atomic.Bool
	if err := door.Register(ports.Op{Name: "test.echo", Func: func(context.Context, *kernel.PortCall) (*kernel.PortReply, error) {
		if first.CompareAndSwap(false, true) {
			close(entered)
			<-release
		}
		return &kernel.PortReply{}, nil
	}}); err != nil {
		t.Fatal(err)
	}
	r := s.reloaded(t, door, extension.Spec{})
	done := make(chan error)
	go func() {
		got, err := r.version(nil)
		if err == nil && got != 1 {
			err = errors.New("ended as version " + strconv.Itoa(got))
		}
		done <- err
	}()
	<-entered
	r.to(2)
	r.want(nil, 2)
	if n := r.Versions(); n != 2 {
		t.Errorf("while the call goes on, %d versions are live", n)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := r.Versions(); n != 1 {
		t.Errorf("after the call, %d versions are live", n)
	}
}

func TestReloadRefuses(t *testing.T) {
	s := newSite(t)
	first := s.reloaded(t, s.door, extension.Spec{})
	pinned := s.reloaded(t, s.door, extension.Spec{Digest: first.Digest()})
	for name, c := range map[string]struct {
		of    *reloaded
		wasm  []byte
		admit func(string) error
		code  kernel.Code
		words []string
	}{
		"another digest":    {pinned, versioned(t, 2, "test.echo"), admitAll, kernel.CodeModuleInvalid, []string{"pinned", first.Digest()}},
		"a wider request":   {first, versioned(t, 2, "test.echo", "clock.read"), admitAll, kernel.CodeModuleGrant, []string{"clock.read", "not granted"}},
		"no request":        {first, versioned(t, 2), admitAll, kernel.CodeModuleGrant, []string{"hexdag_v1.call"}},
		"nothing requested": {first, hostile(t, "early"), admitAll, kernel.CodeModuleGrant, nil},
		"no memory":         {first, hostile(t, "no-memory"), admitAll, kernel.CodeModuleExport, nil},
		"no hook any more":  {first, []byte("\x00asm\x01\x00\x00\x00\x05\x03\x01\x00\x01\x07\x0a\x01\x06memory\x02\x00"), admitAll, kernel.CodeModuleExport, []string{"cannot take the place", "port_before", "open the host anew"}},
		"garbage":           {first, []byte("garbage"), admitAll, kernel.CodeModuleInvalid, nil},
		"no record":         {first, versioned(t, 2, "test.echo"), func(string) error { return &kernel.Error{Code: kernel.CodeAudit, What: "full"} }, kernel.CodeAudit, nil},
	} {
		c.of.write(c.wasm)
		changed, err := c.of.Reload(t.Context(), c.admit)
		if changed {
			t.Errorf("%s: taken", name)
		}
		says(t, err, c.code, c.words...)
		c.of.want(nil, 1)
		if n := c.of.Versions(); n != 1 {
			t.Errorf("%s: %d versions are live", name, n)
		}
	}
}

// Calls, runs and reloads at once: no run sees two versions, and none fails.
func TestReloadWhileRunsGoOn(t *testing.T) {
	s := newSite(t)
	r := s.reloaded(t, s.door, extension.Spec{})
	stop := make(chan struct{})
	var runs sync.WaitGroup
	for n := range 4 {
		runs.Add(1)
		go func() {
			defer runs.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				run := &kernel.RunContext{RunID: strconv.Itoa(n) + "-" + strconv.Itoa(i)}
				before, err := r.version(run)
				for range 3 {
					got, again := r.version(run)
					if err = errors.Join(err, again); err != nil || got != before {
						t.Errorf("version %d, then %d: %v", before, got, err)
						return
					}
				}
				r.EndRun(context.Background(), run.RunID)
			}
		}()
	}
	for n := range uint32(30) {
		r.to(n + 2)
	}
	close(stop)
	runs.Wait()
	if n := r.Versions(); n != 1 {
		t.Errorf("%d versions are live", n)
	}
}

// holding is what the process holds.
type holding struct{ heap, goroutines, mappings, files int }

func measure(t *testing.T) (h holding) {
	t.Helper()
	for range 3 { // the engine frees code with finalizers
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.heap, h.goroutines = int(m.HeapAlloc), runtime.NumGoroutine()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("NOT CHECKED: this system does not tell what a process holds: ", err)
	}
	h.mappings = strings.Count(string(maps), "\n")
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	h.files = len(files)
	return h
}

func TestReloadLeaksNothing(t *testing.T) {
	reloads := uint32(10_000)
	if testing.Short() || testenv.Race {
		reloads = 300
	}
	s := newSite(t)
	s.log = &logbook{}
	r := s.reloaded(t, s.door, extension.Spec{})
	replace := func(n uint32) {
		run := &kernel.RunContext{RunID: strconv.Itoa(int(n))}
		r.BeginRun(run)
		r.to(n)
		r.want(run, int(n)-1)
		r.want(nil, int(n))
		r.EndRun(context.Background(), run.RunID)
		s.calls, s.records = nil, nil
	}
	for n := range uint32(100) { // what is kept once is no leak
		replace(n + 2)
	}
	before := measure(t)
	for n := range reloads {
		replace(n + 102)
	}
	after := measure(t)
	t.Logf("%d reloads: before %+v, after %+v", reloads, before, after)
	if after.heap-before.heap > 4<<20 || after.goroutines > before.goroutines+2 || after.mappings > before.mappings+40 || after.files > before.files+2 || r.Versions() != 1 {
		t.Errorf("%d reloads: before %+v, after %+v, %d versions live", reloads, before, after, r.Versions())
	}
}
