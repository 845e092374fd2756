//go:build !linux

package testserver

import "syscall"

func dieWithParent(attr *syscall.SysProcAttr) *syscall.SysProcAttr { return attr }

// children returns the processes that a process started, which is not known here.
func children(int) []int { return nil }

func gone(int) bool { return true }
