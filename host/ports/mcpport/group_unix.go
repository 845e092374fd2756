//go:build unix

package mcpport

import (
	"os/exec"
	"syscall"
)

// grouped has a command begin a group of processes: what it starts ends with it.
func grouped(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup ends a command that was started, and all that it has started.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
