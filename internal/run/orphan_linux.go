package run

import "syscall"

// DiesWithUs is for programs that must not outlive us: the kernel kills them when the
// thread ends that started them.
func DiesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
