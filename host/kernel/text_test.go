package kernel_test

import (
	"crypto/sha256"
	"fmt"
	"math"
	"testing"

	"github.com/hexdag/hexdag/host/kernel"
)

func TestText(t *testing.T) {
	args := map[string]any{"b": kernel.Number(2), "a": "x"}
	text := kernel.NewText(args)
	got, err := text.JSON()
	if err != nil || string(got) != `{"a":"x","b":2}` {
		t.Errorf("JSON() = %s, %v", got, err)
	}
	if sum := fmt.Sprintf("sha256:%x", sha256.Sum256(got)); text.Digest() != sum || kernel.Written(args, got).Digest() != sum {
		t.Errorf("Digest() = %s", text.Digest())
	}
	if text.For(args) != text {
		t.Error("the text is not that of its own object")
	}
	equal := map[string]any{"b": kernel.Number(2), "a": "y"}
	if other, _ := text.For(equal).JSON(); string(other) != `{"a":"y","b":2}` {
		t.Errorf("of another object it is %s", other)
	}
	if other, _ := (*kernel.Text)(nil).For(nil).JSON(); string(other) != `{}` {
		t.Errorf("of no object it is %s", other)
	}
	bad := kernel.NewText(map[string]any{"n": math.NaN()})
	if _, err := bad.JSON(); err == nil || bad.Digest() != "" {
		t.Errorf("of what is no JSON: %v, %q", err, bad.Digest())
	}
}
