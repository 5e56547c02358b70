package run

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// conceal keeps other processes of the same user from reading the environment
// that this one was started with, and its memory. What the system does not
// allow of it is left undone.
func conceal() {
	// First, for a process that is not dumpable may not write to its own memory
	// by that file. Root may still look into us: hence both.
	overwriteEnvironment()
	unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
}

// overwriteEnvironment clears what /proc/<pid>/environ shows. Go has copied all
// of it before.
func overwriteEnvironment() {
	stat, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return
	}
	// The name of the program, in parentheses, may have spaces in it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const start, end = 50 - 3, 51 - 3 // proc(5) counts from 1 and the first two are gone
	if len(fields) <= end {
		return
	}
	from, err1 := strconv.ParseInt(string(fields[start]), 10, 64)
	to, err2 := strconv.ParseInt(string(fields[end]), 10, 64)
	if err1 != nil || err2 != nil || from <= 0 || to <= from {
		return
	}
	memory, err := os.OpenFile("/proc/self/mem", os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer memory.Close()
	memory.WriteAt(make([]byte, to-from), from)
}
