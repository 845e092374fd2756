package diff_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hexdag/hexdag/host/diff"
)

// lines compares two texts of a type and returns what is shown.
func lines(t *testing.T, contentType, before, after string) (*diff.Report, string) {
	t.Helper()
	r := diff.Of(diff.Content{Name: "a", Type: contentType, Data: []byte(before)}, diff.Content{Name: "b", Type: contentType, Data: []byte(after)})
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return r, b.String()
}

func TestDiff(t *testing.T) {
	for _, c := range []struct {
		name, contentType, old, new string
		kind                        diff.Kind
		want                        string
	}{
		{"the same", "text/plain", "x", "x", diff.Text, "the same\n"},
		{"json", "application/json", `{"a":1,"b":[1,2,3],"c":{"d":"x"}}`, `{"a":2,"b":[1,3],"c":{"d":"x","e/f":null}}`, diff.JSON,
			"~ /a: 1 -> 2\n- /b/1: 2\n+ /c/e~1f: null\n"},
		{"json, written otherwise", "application/vnd.x+json; charset=utf-8", `{"a":1,"b":2}`, "{\"b\": 2,\n\"a\": 1}", diff.JSON, "the same but for how it is written\n"},
		{"json, the whole", "application/json", `1`, `"1"`, diff.JSON, "~ (the whole): 1 -> \"1\"\n"},
		{"numbers beyond 2^53", "application/json", `9007199254740993`, `9007199254740992`, diff.JSON, "~ (the whole): 9007199254740993 -> 9007199254740992\n"},
		{"no json", "application/json", `{"a":`, `{"a":1}`, diff.Text,
			"compared as text: a is no JSON: JSON, byte 5: ends where a value is due\n--- a\n+++ b\n@@ -1 +1 @@\n-{\"a\":\n\\ No newline at end of file\n+{\"a\":1}\n\\ No newline at end of file\n"},
		{"csv with keys", "text/csv", "id,name,age\n1,ann,30\n2,bob,40\n", "id,age,name\n3,5,eve\n1,31,ann\n", diff.CSV,
			"~ id 1, age: \"30\" -> \"31\"\n- id 2: 2, bob, 40\n+ id 3: 3, 5, eve\n"},
		{"csv with another column", "text/csv", "id,x\n1,2\n", "id,y\n1,2\n", diff.CSV, "- column 2: \"x\"\n+ column 2: \"y\"\n"},
		{"csv without keys", "text/csv", "k,v\na,1\na,2\n", "k,v\na,1\na,\"3\n4\"\n", diff.CSV, "- row: a, 2\n+ row: a, 3\\n4\n"},
		{"text", "", "one\ntwo\nthree\n", "one\n2\nthree\n", diff.Text, "--- a\n+++ b\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n"},
		{"text that is no good for a terminal", "", "a\n", "\x1b[31ma\n", diff.Text, "--- a\n+++ b\n@@ -1 +1 @@\n-a\n+\\x1b[31ma\n"},
		{"bytes", "", "a\x00b", "a\x00cd", diff.Bytes, "3 bytes and 4 bytes, the same up to byte 2\n"},
		{"no image", "image/png", "\x00\x01", "\x00\x02", diff.Bytes, "compared as bytes: a is no image: image: unknown format\n2 bytes and 2 bytes, the same up to byte 1\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, text := lines(t, c.contentType, c.old, c.new)
			if r.Kind != c.kind || r.Equal != (c.old == c.new) {
				t.Errorf("kind %s, equal %v", r.Kind, r.Equal)
			}
			if d := cmp.Diff(c.want, text); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDiffOfTwoKinds(t *testing.T) {
	r := diff.Of(diff.Content{Name: "a", Type: "application/json", Data: []byte("1")}, diff.Content{Name: "b", Type: "text/csv", Data: []byte("1")})
	if r.Kind != diff.Text || r.Note != "the one is json, the other csv" {
		t.Errorf("%+v", r)
	}
}

func picture(t *testing.T, w, h int, set ...image.Point) []byte {
	t.Helper()
	img := image.NewGray(image.Rect(0, 0, w, h))
	for _, p := range set {
		img.SetGray(p.X, p.Y, color.Gray{Y: 200})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestDiffOfImages(t *testing.T) {
	before, after := picture(t, 10, 10, image.Pt(1, 1)), picture(t, 12, 8, image.Pt(1, 1), image.Pt(3, 4), image.Pt(5, 2), image.Pt(11, 7))
	r, text := lines(t, "image/png", string(before), string(after))
	if want := "size: 10 x 10 -> 12 x 8\n2 pixels differ, by at most 200 of 255, between (3, 2) and (6, 5)\n"; text != want || r.Kind != diff.Image {
		t.Errorf("%s %q", r.Kind, text)
	}
}

// A small file may claim a size that no machine has memory for.
func TestDiffOfHugeImage(t *testing.T) {
	small := picture(t, 1, 1)
	huge := bytes.Clone(small)
	copy(huge[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65,536 x 65,536
	binary.BigEndian.PutUint32(huge[29:], crc32.ChecksumIEEE(huge[12:29]))
	r, _ := lines(t, "image/png", string(small), string(huge))
	if r.Kind != diff.Bytes || !strings.Contains(r.Note, "4294967296 pixels, images are compared up to 32000000") {
		t.Errorf("%s, %s", r.Kind, r.Note)
	}
}

func TestDiffOfManyChanges(t *testing.T) {
	before, after := map[string]int{}, map[string]int{}
	for i := range 3 * diff.MaxChanges {
		before["k"+strconv.Itoa(i)], after["k"+strconv.Itoa(i)] = i, i+1
	}
	a, _ := json.Marshal(before)
	b, _ := json.Marshal(after)
	r, text := lines(t, "application/json", string(a), string(b))
	if len(r.Changes) != diff.MaxChanges || r.Left != 2*diff.MaxChanges || !strings.HasSuffix(text, "and 2000 changes more\n") {
		t.Errorf("%d changes, %d left out", len(r.Changes), r.Left)
	}
}

// Long arrays without anything in common must not take the product of their lengths.
func TestDiffOfLongArrays(t *testing.T) {
	long := func(digit string) string { return "[" + strings.Repeat(digit+",", 200_000) + digit + "]" }
	r, _ := lines(t, "application/json", long("1"), long("2"))
	if len(r.Changes)+r.Left != 200_001 {
		t.Errorf("%d changes", len(r.Changes)+r.Left)
	}
}
