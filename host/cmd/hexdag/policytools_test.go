package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"strings"
	"testing"
)

const authzPolicy = `package hexdag.authz

import data.hexdag.combine
import data.hexdag.rbac

# METADATA
# entrypoint: true
decision := combine.decision([rbac.rules])
`

const authzTest = `package hexdag.authz_test

import data.hexdag.authz

test_default if authz.decision.effect == "deny" with input as {}
`

const authzData = `{"rbac": {"roles": {"reader": {"allow": [{"action": "database.query", "resource": "database:orders"}]}}, "bindings": {"ada": [{"role": "reader", "tenant": "*"}]}}}`

func policyFolder(t *testing.T) func(string) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return folder(t, map[string]string{
		"p/authz.rego": authzPolicy, "p/authz_test.rego": authzTest, "p/data.json": authzData,
		"bad/bad.rego": "package bad\n\nimport data.x\n\nf(y):=1\n", "bad/bad_test.rego": "package bad_test\n\ntest_x if 1 == 2\n",
		"key.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		"pub.pem": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})),
	})
}

const question = `{"subject": {"type": "user", "id": "ada", "tenant": "t"}, "action": {"name": "database.write"}, "resource": {"type": "database", "id": "orders"}}`

func TestPolicyTools(t *testing.T) {
	at := policyFolder(t)
	cli(t, "", "policy", "test", at("p"), "--coverage", "--threshold", "95").wants(t, exitDone, "1 tests, 0 failed", "100.0 %", "authz.rego")
	cli(t, "", "policy", "test", at("bad")).wants(t, exitFailed, "FAIL", "bad_test.rego:3", "1 failed")
	cli(t, "", "policy", "check", at("p")).wants(t, exitDone, "nothing is wrong")
	cli(t, "", "policy", "check", at("bad")).refuses(t, exitBadInput, "unused", "bad.rego:3")
	cli(t, "", "policy", "fmt", "--check", at("p")).wants(t, exitDone)
	cli(t, "", "policy", "fmt", "--check", at("bad")).wants(t, exitFailed, "bad.rego")
	cli(t, "", "policy", "fmt", at("bad")).wants(t, exitDone, "bad.rego")
	cli(t, "", "policy", "fmt", "--check", at("bad")).wants(t, exitDone)
	cli(t, "", "policy", "explain", at("p"), "--input", question).wants(t, exitDone, `"id":"default.deny"`, "hexdag.rbac.allow does not apply",
		"ports.matches(grant.action, input.action.name)", `input.action.name = "database.write"`, "to be allowed")
	cli(t, "", "policy", "list-permissions", at("p"), "--rule", "hexdag/rbac/allow", "--request", question).wants(t, exitDone, `"database.query" = input.action.name`)

	cli(t, "", "policy", "build", at("p"), "-o", at("p.tar.gz")).wants(t, exitDone)
	cli(t, "", "policy", "bench", at("p.tar.gz"), "--input", question, "--for", "1ms").wants(t, exitDone, "evaluations: fastest", "median")
	list := []string{"policy", "list-permissions", at("p.tar.gz"), "--request", question, "--action", "database.query", "--action", "database.write"}
	cli(t, "", append(list, "--resource", "database:orders", "--resource", "database:people")...).
		wants(t, exitDone, `{"action":"database.query","effect":"allow","resource":{"id":"orders","type":"database"}}`+"\n")
	cli(t, "", append(list, "--resource", "orders")...).refuses(t, exitBadInput, "type:id")
	cli(t, "", list...).refuses(t, exitBadInput, "0 pairs", "--resource")
}

func TestPolicySign(t *testing.T) {
	at := policyFolder(t)
	cli(t, "", "policy", "build", at("p"), "-o", at("p.tar.gz")).wants(t, exitDone)
	cli(t, "", "policy", "verify", at("p.tar.gz"), "--key", at("pub.pem")).refuses(t, exitBadInput, "not signed", "p.tar.gz")
	cli(t, "", "policy", "sign", at("p.tar.gz"), "--key", at("key.pem"), "-o", at("s.tar.gz")).wants(t, exitDone, "s.tar.gz is signed")
	cli(t, "", "policy", "verify", at("s.tar.gz"), "--key", at("pub.pem")).wants(t, exitDone, "as it was signed")
	cli(t, "", "policy", "eval", at("s.tar.gz"), "--input", question).wants(t, exitDone, `"effect":"deny"`)
	raw, err := os.ReadFile(at("s.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("cut.tar.gz"), raw[:len(raw)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	cli(t, "", "policy", "verify", at("cut.tar.gz"), "--key", at("pub.pem")).refuses(t, exitBadInput, "cut.tar.gz")
	cli(t, "", "policy", "sign", at("p.tar.gz"), "--key", at("p/data.json")).refuses(t, exitBadInput, "not PEM")
}

// TestSignedSlot: a slot with a key takes a bundle that this key signed, and no other.
func TestSignedSlot(t *testing.T) {
	keys := policyFolder(t)
	config := strings.Replace(helloConfig, "{dirs: [policy]}", "{file: p.tar.gz, key: pub.pem}", 1)
	at := folder(t, map[string]string{"pipeline.yaml": helloPipeline, "hexdag.yaml": config, "policy/authz.rego": helloPolicy})
	for name, from := range map[string]string{"pub.pem": "pub.pem", "key.pem": "key.pem"} {
		text, err := os.ReadFile(keys(from))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := []string{"run", at("pipeline.yaml"), "--input", `{"name": "ann"}`}
	cli(t, "", "policy", "build", at("policy"), "-o", at("p.tar.gz")).wants(t, exitDone)
	if r := cli(t, "", run...); r.code != exitBadInput || !strings.Contains(r.err, "the policy is not signed") {
		t.Errorf("unsigned: %d, %s", r.code, r.err)
	}
	cli(t, "", "policy", "sign", at("p.tar.gz"), "--key", policyFolder(t)("key.pem")).wants(t, exitDone)
	if r := cli(t, "", run...); r.code != exitBadInput || !strings.Contains(r.err, "signature is wrong") {
		t.Errorf("another key: %d, %s", r.code, r.err)
	}
	cli(t, "", "policy", "sign", at("p.tar.gz"), "--key", at("key.pem")).wants(t, exitDone)
	cli(t, "", run...).wants(t, exitDone, `"greeting": "Hello"`)
}
