package main

import (
	"path/filepath"
	"testing"

	"github.com/hexdag/hexdag/host/testenv"
)

func TestModuleTCK(t *testing.T) {
	at := folder(t, map[string]string{"hostile.wasm": hostile, "component.wasm": "\x00asm\x0d\x00\x01\x00"})
	r := cli(t, "", "module", "tck", at("hostile.wasm"))
	r.wants(t, exitFailed, "group", "FAILED  is embedded: the module has no manifest", "FAILED  a string: no verdict", "does not export tool_call", "total")
	cli(t, "", "module", "tck", at("component.wasm")).refuses(t, exitBadInput, "component.wasm", "module.component")
	cli(t, "", "module", "tck", at("no.wasm")).refuses(t, exitBadInput, "no.wasm", "module.not_found")

	testenv.NeedClang(t)
	probe := filepath.Join(t.TempDir(), "probe.wasm")
	cli(t, "", "build", "../../../guests/sdk/c/probe", "-o", probe).wants(t, exitDone, probe)
	cli(t, "", "module", "inspect", probe).wants(t, exitDone, "port_call", "operation      probe.play (name): Does steps")
	cli(t, "", "module", "tck", probe).wants(t, exitDone, "manifest            4      4", "total             202    202")
	cli(t, "", "module", "tck", probe, "-v").wants(t, exitDone, "  ok      a thousand names")
	checks := decode[[]struct {
		Group, Name string
		Problems    []string
	}](t, cli(t, "", "module", "tck", probe, "--json").out)
	if len(checks) != 202 || checks[0].Group != "manifest" || checks[0].Problems != nil {
		t.Errorf("%d checks, the first %+v", len(checks), checks[0])
	}
}
