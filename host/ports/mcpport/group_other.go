//go:build !unix

package mcpport

import "os/exec"

func grouped(*exec.Cmd) {}

func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
