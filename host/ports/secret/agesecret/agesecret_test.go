package agesecret_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"go.uber.org/goleak"

	"github.com/hexdag/hexdag/host/kernel"
	"github.com/hexdag/hexdag/host/ports/secret/agesecret"
	"github.com/hexdag/hexdag/host/ports/secret/driver"
	"github.com/hexdag/hexdag/host/ports/secret/secrettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func key(t *testing.T) *age.X25519Identity {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// encrypt writes the file as age does, in one step.
func encrypt(t *testing.T, file string, armored bool, text []byte, to ...age.Recipient) {
	t.Helper()
	var out bytes.Buffer
	var into io.Writer = &out
	var letters io.WriteCloser
	if armored {
		letters = armor.NewWriter(&out)
		into = letters
	}
	w, err := age.Encrypt(into, to...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if letters != nil {
		if err := letters.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(file+".new", out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	ref := func(name string) string { return "group/" + name }
	for _, armored := range []bool{false, true} {
		secrettest.Run(t, func(t *testing.T, secrets map[string]string) (driver.Store, func(string) string, func(name, value string)) {
			identity, dir := key(t), t.TempDir()
			values := map[string]string{}
			write := func() {
				text, err := json.Marshal(values)
				if err != nil {
					t.Fatal(err)
				}
				encrypt(t, filepath.Join(dir, "secrets.age"), armored, text, identity.Recipient())
			}
			for name, value := range secrets {
				values[ref(name)] = value
			}
			write()
			t.Setenv("AGE_TEST_KEY", identity.String())
			s, err := agesecret.Open(t.Context(), agesecret.Config{File: filepath.Join(dir, "secrets.age"), IdentityEnv: "AGE_TEST_KEY"})
			if err != nil {
				t.Fatal(err)
			}
			return s, ref, func(name, value string) {
				values[ref(name)] = value
				write()
			}
		})
	}
}

func TestKeys(t *testing.T) {
	dir, identity := t.TempDir(), key(t)
	file := filepath.Join(dir, "secrets.age")
	encrypt(t, file, true, []byte("# ours\nstripe: sk_CANARY\nport: 8080\n"), identity.Recipient())
	keys := filepath.Join(dir, "key.txt")
	if err := os.WriteFile(keys, []byte("# created: today\n# public key: "+identity.Recipient().String()+"\n"+identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(dir, "locked.age")
	passphrase, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	passphrase.SetWorkFactor(10)
	encrypt(t, locked, false, []byte(`{"stripe": "sk_CANARY"}`), passphrase)
	t.Setenv("AGE_TEST_PASS", "correct horse")
	for _, cfg := range []agesecret.Config{{File: file, IdentityFile: keys}, {File: locked, PassphraseEnv: "AGE_TEST_PASS"}} {
		s, err := agesecret.Open(t.Context(), cfg)
		if err != nil {
			t.Errorf("%+v: %v", cfg, err)
			continue
		}
		if got, err := s.Get(t.Context(), "stripe"); got != "sk_CANARY" || err != nil {
			t.Errorf("%+v: %q, %v", cfg, got, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestConfiguration(t *testing.T) {
	dir, identity := t.TempDir(), key(t)
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, other, list, cut := filepath.Join(dir, "good.age"), filepath.Join(dir, "other.age"), filepath.Join(dir, "list.age"), filepath.Join(dir, "cut.age")
	encrypt(t, good, false, []byte("a: CANARY"), identity.Recipient())
	encrypt(t, other, false, []byte("a: CANARY"), key(t).Recipient())
	encrypt(t, list, false, []byte("a: [CANARY, {b: c}]"), identity.Recipient())
	encrypt(t, cut, false, []byte("a: "+strings.Repeat("CANARY", 1000)), identity.Recipient())
	whole, err := os.ReadFile(cut)
	if err != nil {
		t.Fatal(err)
	}
	write("cut.age", string(whole[:len(whole)-100]))
	t.Setenv("AGE_TEST_KEY", identity.String())
	t.Setenv("AGE_TEST_BAD", "AGE-SECRET-KEY-1CANARY")
	const env = "AGE_TEST_KEY"
	for name, c := range map[string]struct {
		cfg  agesecret.Config
		says string
	}{
		"no file":          {agesecret.Config{IdentityEnv: env}, "file is missing"},
		"no key":           {agesecret.Config{File: good}, "name one of identity_file"},
		"two keys":         {agesecret.Config{File: good, IdentityEnv: env, PassphraseEnv: env}, "2 of the three"},
		"unset":            {agesecret.Config{File: good, IdentityEnv: "AGE_TEST_UNSET"}, "AGE_TEST_UNSET is not set"},
		"a bad key":        {agesecret.Config{File: good, IdentityEnv: "AGE_TEST_BAD"}, "identity_env has no line"},
		"another's file":   {agesecret.Config{File: other, IdentityEnv: env}, "cannot be decrypted"},
		"a wrong password": {agesecret.Config{File: good, PassphraseEnv: env}, "cannot be decrypted"},
		"a cut file":       {agesecret.Config{File: cut, IdentityEnv: env}, "to its end"},
		"no mapping":       {agesecret.Config{File: list, IdentityEnv: env}, "no mapping of texts"},
		"plain text":       {agesecret.Config{File: write("plain", "a: CANARY"), IdentityEnv: env}, "cannot be decrypted"},
		"empty":            {agesecret.Config{File: write("empty", ""), IdentityEnv: env}, "cannot be decrypted"},
		"no such file":     {agesecret.Config{File: filepath.Join(dir, "no"), IdentityEnv: env}, "cannot be opened"},
		"a folder":         {agesecret.Config{File: dir, IdentityEnv: env}, "is no file"},
	} {
		s, err := agesecret.Open(t.Context(), c.cfg)
		if s != nil || kernel.CodeOf(err) != kernel.CodeConfig || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
