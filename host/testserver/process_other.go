//go:build !linux

package testserver

import "os/exec"

// Elsewhere tests run as a user that servers run as, and end them themselves.

func dieWithParent(*exec.Cmd) {}

func asServer(*exec.Cmd) {}

func give(string) error { return nil }

// killAll ends a server.
func killAll(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
