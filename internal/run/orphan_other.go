//go:build !linux

package run

import "syscall"

// DiesWithUs is for programs that must not outlive us. Only Linux sees to that.
func DiesWithUs() *syscall.SysProcAttr { return nil }
