package testserver

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/hexdag/hexdag/host/testenv"
)

// SmallDisk returns a folder on a disk of its own, of so many bytes, until the test ends.
func SmallDisk(t testing.TB, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+strconv.Itoa(bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		testenv.Missing(t, "right to mount a disk: "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", dir).Run() })
	return dir
}
