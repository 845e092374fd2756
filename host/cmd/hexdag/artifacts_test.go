package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// artifactID is the id that a line or a JSON document of the command begins with.
func artifactID(t *testing.T, r ran) string {
	t.Helper()
	r.wants(t, exitDone, "sha256:")
	return strings.TrimSpace(r.out)
}

func digestOf(t *testing.T, text string) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
}

func TestArtifacts(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec: {}\n",
		"a.json":      `{"total": 1, "lines": ["x"]}`,
		"b.json":      `{"total": 2, "lines": ["x", "\u001b[31m"]}`,
		"c.txt":       "made of a\n",
	})
	with := func(args ...string) ran {
		return cli(t, "", append([]string{"artifacts"}, append(args, "--config", at("hexdag.yaml"))...)...)
	}
	a := artifactID(t, with("put", "r1", "report.json", at("a.json"), "--type", "application/json", "--metadata", `{"by":"ann"}`))
	b := artifactID(t, with("put", "r2", "report.json", at("b.json"), "--type", "application/json"))
	c := artifactID(t, with("put", "r2", "note.txt", at("c.txt"), "--type", "text/plain", "--parent", a[7:19]))

	with("list").wants(t, exitDone, a[7:19], b[7:19], c[7:19], "report.json", "r1", "r2")
	with("list", "r1").wants(t, exitDone, a[7:19])
	if r := with("list", "r1"); strings.Contains(r.out, b[7:19]) {
		t.Errorf("another run's: %s", r.out)
	}
	with("list", "--json", "--limit", "1").wants(t, exitDone, `"metadata":`)
	with("get", a[:13]).wants(t, exitDone, `{"total": 1, "lines": ["x"]}`)
	with("get", a, "-o", at("out.json")).wants(t, exitDone)
	if text, err := os.ReadFile(at("out.json")); err != nil || string(text) != `{"total": 1, "lines": ["x"]}` {
		t.Errorf("%s, %v", text, err)
	}
	with("diff", a, b).wants(t, exitDone, "~ /total: 1 -> 2", `+ /lines/1: "\u001b[31m"`)
	with("diff", "--runs", "r1", "r2").wants(t, exitDone, "report.json\n+ /lines/1", "~ /total: 1 -> 2", "note.txt\nonly in the second")
	with("diff", a, b, "--json").wants(t, exitDone, `"kind":"json"`)
	with("lineage", c).wants(t, exitDone, "report.json "+a[7:19], "note.txt "+c[7:19], "<- report.json")
	with("lineage", a, "--svg").wants(t, exitDone, "<svg", "note.txt")
	with("lineage", a, "--json").wants(t, exitDone, `"parents":["`+a+`"]`)
	with("verify").wants(t, exitDone, "3 artifacts of", "0 are not")
	with("gc", "--keep-for", "1h").wants(t, exitDone, "removed 0 artifacts")

	content := at(".hexdag/artifacts/manifests/" + c[7:])
	text, err := os.ReadFile(content)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(content, text[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	if r := with("verify"); r.code != exitFailed || !strings.Contains(r.out, c) || !strings.Contains(r.out, "2 artifacts of") {
		t.Errorf("%+v", r)
	}
	for _, run := range [][]string{{"list"}, {"list", "r2"}, {"list", "--json"}} {
		if r := with(run...); r.code != exitFailed || !strings.Contains(r.out, b[7:19]) || !strings.Contains(r.err, c+" is not what was stored") {
			t.Errorf("%v: %+v", run, r)
		}
	}
	damaged := at(".hexdag/artifacts/content/" + digestOf(t, `{"total": 2, "lines": ["x", "\u001b[31m"]}`))
	if err := os.WriteFile(damaged, []byte(`{"total": 3, "lines": ["x", "\u001b[31m"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	with("get", b, "-o", at("out.json")).refuses(t, exitFailed, "its content has another digest")
	with("get", b, "-o", at("new.json")).refuses(t, exitFailed, "its content has another digest")
	with("get", a, "-o", at("none/new.json")).refuses(t, exitBadInput, "the file cannot be written")
	if text, err := os.ReadFile(at("out.json")); err != nil || string(text) != `{"total": 1, "lines": ["x"]}` {
		t.Errorf("a get that failed left %s, %v", text, err)
	}
	if left, err := filepath.Glob(at("*new*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if info, err := os.Stat(os.DevNull); err == nil && !info.Mode().IsRegular() {
		with("get", a, "-o", os.DevNull).wants(t, exitDone)
	}
	with("gc").wants(t, exitDone, c+" cannot be read, so that all content stays")
	with("rm", a, b, c).wants(t, exitDone)
	with("verify").wants(t, exitDone, "0 artifacts")
	with("get", a).refuses(t, exitFailed, "there is no artifact", "port.not_found")
	with("get", "abc").refuses(t, exitFailed, "an id is", "the first six or more")
	with("diff", "--runs", "r1", "r9").refuses(t, exitFailed, "stored nothing")
}

func TestArtifactsEncrypted(t *testing.T) {
	at := folder(t, map[string]string{
		"hexdag.yaml": "kind: Config\nspec: {ports: {artifacts: {adapter: file, config: {root: store, identities: key.txt}}}}\n",
		"other.yaml":  "kind: Config\nspec: {ports: {artifacts: {adapter: file, config: {root: store}}}}\n",
		"memory.yaml": "kind: Config\nspec: {ports: {artifacts: {adapter: memory}}}\n",
		"wrong.yaml":  "kind: Config\nspec: {ports: {artifacts: {adapter: file, config: {rot: store}}}}\n",
		"a.txt":       "the content",
	})
	with := func(config string, args ...string) ran {
		return cli(t, "", append([]string{"artifacts"}, append(args, "--config", at(config))...)...)
	}
	with("hexdag.yaml", "list").refuses(t, exitBadInput, "the keys of the artifacts cannot be read", "hexdag artifacts keygen")
	cli(t, "", "artifacts", "keygen", at("key.txt")).wants(t, exitDone, "public key: age1")
	cli(t, "", "artifacts", "keygen", at("key.txt")).refuses(t, exitBadInput, "the key cannot be written")
	a := artifactID(t, with("hexdag.yaml", "put", "r", "a.txt", at("a.txt")))
	with("hexdag.yaml", "get", a).wants(t, exitDone, "the content")
	with("other.yaml", "get", a).refuses(t, exitFailed, "is not what was stored")
	with("memory.yaml", "list").refuses(t, exitBadInput, "are kept in the memory of a host")
	with("wrong.yaml", "list").refuses(t, exitBadInput, "it has no member rot", "adapter file takes")
}
