package natsserver

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where another process has the folder and lets nobody in, a dial says so at once: the connection
// dials with its own lock held.
func TestDialDoesNotWait(t *testing.T) {
	n, err := openNode(Config{Folder: t.TempDir(), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	other, err := lockFile(filepath.Join(n.config.Folder, lockName))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if _, err := n.Dial("", ""); err == nil || !strings.Contains(err.Error(), "another process has it") || time.Since(begun) > 5*time.Second {
		t.Error(time.Since(begun), err)
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	conn, err := n.Dial("", "")
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := n.close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Dial("", ""); err != net.ErrClosed {
		t.Error(err)
	}
}

// While the server starts or stops, which takes its time, nobody else has to wait for it.
func TestFieldsAreFreeWhileItStarts(t *testing.T) {
	n, err := openNode(Config{Folder: t.TempDir(), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	n.dialing.Lock() // as Dial does
	free := make(chan struct{})
	go func() {
		n.problem()
		guest, conn := net.Pipe()
		n.admit(guest, conn)
		close(free)
	}()
	select {
	case <-free:
	case <-time.After(10 * time.Second):
		t.Error("they wait")
	}
	n.dialing.Unlock()
	if err := n.close(); err != nil {
		t.Error(err)
	}
}
