package testserver

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// dieWithParent ends a server when the test's process ends, however that ends.
func dieWithParent(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.SysProcAttr.Setpgid = true
}

// killAll ends a server and what it started.
func killAll(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
}

// asServer has root run a program as the user that servers run as.
func asServer(cmd *exec.Cmd) {
	if id, ok := serverUser(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: id}
	}
}

// give makes a folder the server's.
func give(dir string) error {
	if id, ok := serverUser(); ok {
		return os.Chown(dir, int(id.Uid), int(id.Gid))
	}
	return nil
}

// serverUser returns who runs servers where that is not who runs the tests: the user
// postgres, else nobody.
func serverUser() (*syscall.Credential, bool) {
	if os.Getuid() != 0 {
		return nil, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, true
		}
	}
	return nil, false
}
