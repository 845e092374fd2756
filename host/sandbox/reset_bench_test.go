//go:build linux

package sandbox

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkReset is what putting a memory back costs, by copying its image and by
// dropping its private pages, with what a guest then pays for touching them again.
// copyThreshold is where the two meet.
func BenchmarkReset(b *testing.B) {
	for _, kib := range []int{64, 128, 256, 512, 1024, 4096} {
		for _, pages := range []int{1, 4, 16} {
			for _, mapped := range []bool{false, true} {
				how := map[bool]string{false: "copy", true: "map"}[mapped]
				b.Run(fmt.Sprintf("%dK/%dpages/%s", kib, pages, how), func(b *testing.B) { benchmarkReset(b, kib<<10, pages, mapped) })
			}
		}
	}
}

func benchmarkReset(b *testing.B, size, pages int, mapped bool) {
	content := make([]byte, size)
	for n := range content {
		content[n] = byte(n) | 1
	}
	m := &linearMemory{limit: uint64(size)}
	m.Reallocate(uint64(size))
	defer m.Free()
	img := &image{size: uint64(size), memory: content}
	if mapped {
		fd, err := unix.MemfdCreate("image", unix.MFD_CLOEXEC)
		if err != nil {
			b.Fatal(err)
		}
		img.file = &imageFile{fd: fd}
		defer img.file.close()
		if _, err := unix.Write(fd, content); err != nil {
			b.Fatal(err)
		}
		if err := img.file.mapOnto(m, img.size); err != nil {
			b.Fatal(err)
		}
	}
	m.restore(img)
	for b.Loop() {
		for n := range pages {
			m.region[n*size/pages] = 0
		}
		m.restore(img)
	}
	for n := range pages {
		if at := n * size / pages; m.region[at] != content[at] {
			b.Fatalf("byte %d is %d", at, m.region[at])
		}
	}
}
