//go:build linux

package sandbox

import (
	"fmt"
	"testing"
)

// BenchmarkReset is what putting a memory back costs: by copying its image, by
// dropping its private pages, and by copying back those pages that the system says
// were written; with what a guest then pays for touching them again. copyThreshold
// is where the first two meet.
func BenchmarkReset(b *testing.B) {
	for _, kib := range []int{64, 128, 256, 512, 1024, 4096} {
		for _, pages := range []int{1, 4, 16} {
			for _, how := range []string{"copy", "drop", "scan"} {
				b.Run(fmt.Sprintf("%dK/%dpages/%s", kib, pages, how), func(b *testing.B) { benchmarkReset(b, kib<<10, pages, how) })
			}
		}
	}
}

func benchmarkReset(b *testing.B, size, pages int, how string) {
	content := make([]byte, size)
	for n := range content {
		content[n] = byte(n) | 1
	}
	m := &linearMemory{limit: uint64(size)}
	m.Reallocate(uint64(size))
	defer m.Free()
	img := &image{size: uint64(size), memory: content, scanner: &pageScanner{}}
	defer img.scanner.close()
	if how != "copy" {
		original, err := reserve(uint64(size))
		if err != nil {
			b.Fatal(err)
		}
		defer release(original)
		copy(original, content)
		if img.file, err = makeImageFile(original); err != nil {
			b.Fatal(err)
		}
		defer img.file.close()
		if err := img.file.mapOnto(m, img.size); err != nil {
			b.Fatal(err)
		}
		if how == "drop" {
			img.scanner.open.Do(func() {})
		} else if !img.scanner.works() {
			b.Skip("this system does not tell which pages were written")
		}
	}
	restore := func() {
		if err := m.restore(img); err != nil {
			b.Fatal(err)
		}
	}
	restore()
	for b.Loop() {
		for n := range pages {
			m.region[n*size/pages] = 0
		}
		restore()
	}
	for n := range pages {
		if at := n * size / pages; m.region[at] != content[at] {
			b.Fatalf("byte %d is %d", at, m.region[at])
		}
	}
}
