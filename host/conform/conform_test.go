package conform_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/conform"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
)

// sdks is where the SDKs are, each in the folder of its language with its probe.
const sdks = "../../guests/sdk"

func run(t *testing.T, wasm []byte) []tck.Check {
	t.Helper()
	runtime, err := sandbox.New(context.Background(), sandbox.Options{Engine: sandbox.Engine(os.Getenv("HEXDAG_TEST_ENGINE"))})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close(context.Background())
	checks, err := tck.Run(t.Context(), conform.Host{Runtime: runtime}, wasm, nil)
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// TestSDKs holds the probe of every SDK to every vector.
func TestSDKs(t *testing.T) {
	entries, err := os.ReadDir(sdks)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			if (testing.Short() || testenv.Race) && entry.Name() != "c" {
				t.Skip("the other languages are for the whole of the tests")
			}
			checks := run(t, build(t, filepath.Join(sdks, entry.Name(), "probe")))
			for _, c := range checks {
				if !c.Pass() {
					t.Errorf("%s/%s: %q", c.Group, c.Name, c.Problems)
				}
			}
			if len(checks) < 202 {
				t.Errorf("only %d checks", len(checks))
			}
		})
	}
}

// TestExamples runs the hook of every SDK's README: in all languages it does the same.
func TestExamples(t *testing.T) {
	entries, err := os.ReadDir(sdks)
	if err != nil {
		t.Fatal(err)
	}
	runtime, err := sandbox.New(context.Background(), sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer runtime.Close(context.Background())
	for _, entry := range entries {
		t.Run(entry.Name(), func(t *testing.T) {
			if (testing.Short() || testenv.Race) && entry.Name() != "c" {
				t.Skip("the other languages are for the whole of the tests")
			}
			m, err := conform.Host{Runtime: runtime}.Load(t.Context(), build(t, filepath.Join(sdks, entry.Name(), "example")))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close(context.Background())
			got, err := m.Call(t.Context(), tck.Call{Point: abi.NodeBefore, Input: []byte(`{"input":{"name":"Ann €"}}`)})
			if err != nil || got.Verdict != abi.Replace || string(got.Patched) != `{"greeting":"hello Ann €","name":"Ann €"}` {
				t.Errorf("%v %s, %v", got.Verdict, got.Patched, err)
			}
			got, err = m.Call(t.Context(), tck.Call{Point: abi.NodeBefore, Input: []byte(`{"input":{}}`)})
			if err != nil || got.Verdict != abi.Deny || string(got.Output) != `{"code":"no_name","reason":"the input has no name"}` {
				t.Errorf("%v %s, %v", got.Verdict, got.Output, err)
			}
		})
	}
}

// TestReadmesShowTheExamples keeps what the READMEs show what is run.
func TestReadmesShowTheExamples(t *testing.T) {
	for lang, file := range map[string]string{
		"c": "greet.c", "go": "main.go", "rust": "src/lib.rs", "assemblyscript": "assembly/index.ts", "js": "main.js", "zig": "src/main.zig", "java": "src/main/java/greet/Greet.java",
	} {
		readme, err := os.ReadFile(filepath.Join(sdks, lang, "README.md"))
		if err != nil {
			t.Fatal(err)
		}
		example, err := os.ReadFile(filepath.Join(sdks, lang, "example", file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(readme, example) {
			t.Errorf("the README of %s shows another example than the one that is run", lang)
		}
		if lines := bytes.Count(example, []byte("\n")); lines > 20 {
			t.Errorf("the example of %s has %d lines", lang, lines)
		}
	}
}
