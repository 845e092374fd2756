package conform_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/conform"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
)

// TestCPlusPlus: the C SDK's header is C++ as well, and the example that uses it does the same there.
func TestCPlusPlus(t *testing.T) {
	clang := testenv.NeedProgram(t, "clang++-14", "clang-14 lld-14")
	out := filepath.Join(t.TempDir(), "greet.wasm")
	said, err := exec.CommandContext(t.Context(), clang, "-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "--target=wasm32", "-mbulk-memory", "-ffreestanding", "-nostdlib", "-O2",
		"-Wl,--no-entry", filepath.Join(sdks, "c", "example", "greet.c"), "-o", out).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	wasm, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := sandbox.New(context.Background(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close(context.Background())
	m, err := conform.Host{Runtime: runtime}.Load(t.Context(), wasm)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(context.Background())
	got, err := m.Call(t.Context(), tck.Call{Point: abi.NodeBefore, Input: []byte(`{"input":{"name":"Ann"}}`)})
	if err != nil || got.Verdict != abi.Replace || string(got.Patched) != `{"greeting":"hello Ann","name":"Ann"}` {
		t.Errorf("%v %s, %v", got.Verdict, got.Patched, err)
	}
}
