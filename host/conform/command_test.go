package conform_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hexdag/hexdag/abi"
	"github.com/hexdag/hexdag/abi/tck"
	"github.com/hexdag/hexdag/host/conform"
	"github.com/hexdag/hexdag/host/sandbox"
	"github.com/hexdag/hexdag/host/testenv"
)

// silent is a world that notes what is logged and denies all else.
type silent struct{ log []string }

func (*silent) Call(context.Context, string, json.RawMessage, []byte) tck.Reply {
	return tck.Reply{Status: abi.Denied}
}

func (*silent) Clock(abi.ClockID) (int64, abi.Status) { return 0, abi.Denied }

func (*silent) Random([]byte) abi.Status { return abi.Denied }

func (s *silent) Log(_ abi.Level, line string) { s.log = append(s.log, line) }

// TestLuaCommand runs a language without an SDK: Lua, as a plain program.
func TestLuaCommand(t *testing.T) {
	if testing.Short() || testenv.Race {
		t.Skip("compiles Lua")
	}
	const dir = "../../guests/wasi-command/lua"
	wasm := keep(t, dir, []string{dir}, func(out string) {
		said, err := exec.Command(filepath.Join(dir, "build.sh"), out).CombinedOutput()
		if err != nil && os.Getenv("CI") == "" && (strings.Contains(string(said), "cargo vendor") || strings.Contains(string(said), "not found")) {
			t.Skipf("NOT CHECKED: %s", said)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
	})
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
	for _, tc := range []struct {
		name    string
		point   abi.Point
		input   string
		verdict abi.Verdict
		output  string
		says    string
	}{
		{"a node's body", abi.NodeRun, `{"input":{"text":"The cat and the dog,\nund Gr\u00fc\u00dfe \ud83d\ude00 \"the\" end"}}`, abi.Continue, `{"characters":42,"lines":2,"most_common":"the","words":10}`, ""},
		{"a tool", abi.ToolCall, `{"args":{"text":""},"more":[1,-2.5e3,null,true,{},[]]}`, abi.Continue, `{"characters":0,"lines":1,"most_common":null,"words":0}`, ""},
		{"an error", abi.ToolCall, `{"args":{}}`, abi.Error, "", "there is no text"},
	} {
		world := &silent{}
		got, err := m.Call(t.Context(), tck.Call{Point: tc.point, Input: []byte(tc.input), World: world})
		if err != nil || got.Verdict != tc.verdict || tc.output != "" && string(got.Output) != tc.output || !strings.Contains(strings.Join(world.log, "\n"), tc.says) {
			t.Errorf("%s: %v %s, %v, %q", tc.name, got.Verdict, got.Output, err, world.log)
		}
	}
}
