package sandbox

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reserve returns size bytes of zeroed address space; pages cost nothing until
// they are written.
func reserve(size uint64) ([]byte, error) {
	return unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
}

func release(region []byte) {
	if region != nil {
		_ = unix.Munmap(region) // it can only fail for a region that is not one
	}
}

// discard drops private pages: anonymous ones read as zero again, mapped ones as
// the image.
func discard(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil { // locked memory cannot be dropped
		return fmt.Errorf("drop the pages of a memory: %w", err)
	}
	return nil
}

// imageFile is an image that memories can map. What is zero in it takes no room.
type imageFile struct {
	fd   int
	view []byte // all of it

	scanner *pageScanner // which counts it
}

// chunk is the unit in which an image is written: a page of WebAssembly.
const chunk = pageSize

// newImageFile makes an image of a memory. It returns nil where it is better
// copied: a small one if every page would have to be dropped, and any once images
// have taken their part of the process's open files.
func newImageFile(memory []byte, scanner *pageScanner) (*imageFile, error) {
	if len(memory) == 0 || len(memory) <= copyThreshold && !scanner.works() || !scanner.reserve() {
		return nil, nil
	}
	f, err := makeImageFile(memory)
	if err != nil {
		scanner.images.Add(-1)
		return nil, err
	}
	f.scanner = scanner
	return f, nil
}

func makeImageFile(memory []byte) (*imageFile, error) {
	resident, err := residency(memory)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("hexdag-image", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for the image: %w", err)
	}
	f := &imageFile{fd: fd}
	if err = f.write(memory, resident); err == nil {
		f.view, err = unix.Mmap(fd, 0, len(memory), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// residency tells of each of a memory's pages whether it was ever touched: the
// others are zero, and looking at them would cost what mapping them costs.
func residency(memory []byte) ([]byte, error) {
	pages := make([]byte, (len(memory)+unix.Getpagesize()-1)/unix.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(unsafe.SliceData(memory))), uintptr(len(memory)), uintptr(unsafe.Pointer(unsafe.SliceData(pages))))
	if errno != 0 {
		return nil, fmt.Errorf("look for the touched pages of a memory: %w", errno)
	}
	return pages, nil
}

func (f *imageFile) write(memory, resident []byte) error {
	if err := unix.Ftruncate(f.fd, int64(len(memory))); err != nil {
		return fmt.Errorf("make a file for the image: %w", err)
	}
	perChunk := chunk / unix.Getpagesize()
	for at := 0; at < len(memory); at += chunk {
		first := at / unix.Getpagesize()
		touched := slices.ContainsFunc(resident[first:min(first+perChunk, len(resident))], func(b byte) bool { return b&1 != 0 })
		if !touched {
			continue
		}
		if _, err := unix.Pwrite(f.fd, memory[at:min(at+chunk, len(memory))], int64(at)); err != nil {
			return fmt.Errorf("write the image: %w", err)
		}
	}
	return nil
}

func (f *imageFile) close() {
	if f != nil {
		release(f.view)
		if f.scanner != nil {
			f.scanner.images.Add(-1)
		}
		unix.Close(f.fd)
	}
}

// mapOnto maps the image over the start of a memory, copy on write.
func (f *imageFile) mapOnto(m *linearMemory, length uint64) error {
	_, err := unix.MmapPtr(f.fd, 0, unsafe.Pointer(unsafe.SliceData(m.region)), uintptr(length), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED)
	if err != nil {
		return fmt.Errorf("map the image: %w", err)
	}
	m.mapped = true
	return nil
}
