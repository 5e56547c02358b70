package run

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nixpkgs-factory/factory/internal/said"
)

// The names under which this program starts itself.
const (
	outerStage = "factory-outer-stage" // makes the namespaces
	innerStage = "factory-inner-stage" // sets up what is in them, and becomes the program
)

// stage is what a stage is told, in its only argument.
type stage struct {
	Program string // "": the namespaces are all that is wanted
	Argv    []string
	Dir     string
	Confinement
}

// A program that is started as a stage is nothing else: tests of packages that
// confine something are stages, too.
func init() {
	if len(os.Args) != 2 || (os.Args[0] != outerStage && os.Args[0] != innerStage) {
		return
	}
	runtime.LockOSThread()
	code, err := play(os.Args[0], os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "confinement:", err)
	}
	syscall.Exit(code) // without what os.Exit does besides: the race detector waits for a second there
}

// prepare makes the command of a program, or of the stage that becomes it.
func (c Command) prepare(ctx context.Context) (*exec.Cmd, error) {
	cmd, err := command(ctx, c.Name, c.Args...)
	if err != nil || c.Confined == nil {
		return cmd, err
	}
	told, err := json.Marshal(stage{Program: cmd.Path, Argv: cmd.Args, Dir: c.Dir, Confinement: *c.Confined})
	if err != nil {
		return nil, err
	}
	cmd.Path, cmd.Args = "/proc/self/exe", []string{innerStage, string(told)}
	if c.Confined.Namespaces != nil {
		cmd.Args[0] = outerStage
	}
	return cmd, nil
}

// TryNamespaces says why a program cannot have namespaces on this machine, if so.
// It starts none in them.
func TryNamespaces(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "factory-namespaces-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	told, err := json.Marshal(stage{Dir: dir, Confinement: Confinement{Namespaces: &Namespaces{Read: []string{dir}, Store: dir}}})
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", string(told))
	cmd.Args[0], cmd.Env = outerStage, []string{}
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(said.Line(cmp.Or(string(out), err.Error())))
	}
	return nil
}

// play carries out a stage. It returns the exit code of the program, if it
// returns.
func play(name, told string) (int, error) {
	var s stage
	if err := json.Unmarshal([]byte(told), &s); err != nil {
		return stageError, err
	}
	if name == outerStage {
		return s.outer(told)
	}
	if s.Namespaces != nil {
		if err := s.Namespaces.enter(s.Dir); err != nil {
			return stageError, err
		}
	}
	if s.Program == "" {
		return 0, nil
	}
	return stageError, s.become()
}

// outer starts the inner stage in namespaces of its own and waits for it. The
// ids of the user are mapped to root's there, which is nobody outside of them.
func (s stage) outer(told string) (int, error) {
	cmd := exec.Command("/proc/self/exe", told)
	cmd.Args[0] = innerStage
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID |
			syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// Signals come to the whole group: the program decides what to do about them.
	signal.Notify(make(chan os.Signal, 1), os.Interrupt, syscall.SIGTERM)
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status := exit.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return 128 + int(status.Signal()), nil
		}
		return status.ExitStatus(), nil
	}
	if err != nil {
		return stageError, fmt.Errorf("namespaces: %w", err)
	}
	return 0, nil
}

// become replaces this process by the program. From the first limit on nothing
// may allocate memory, of which Go has reserved more than the program may have.
func (s stage) become() error {
	path, err := syscall.BytePtrFromString(s.Program)
	if err != nil {
		return err
	}
	argv, err := syscall.SlicePtrFromStrings(s.Argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	limits := s.limits()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	for i := range limits {
		_, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, 0, uintptr(limits[i].resource), uintptr(unsafe.Pointer(&limits[i].Rlimit)), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("limit: %w", errno)
		}
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
	return fmt.Errorf("%s: %w", s.Program, errno)
}

type limit struct {
	resource int
	unix.Rlimit
}

func (s stage) limits() []limit {
	all := []limit{{unix.RLIMIT_CORE, unix.Rlimit{}}}
	if s.NoFiles {
		all = append(all, limit{unix.RLIMIT_FSIZE, unix.Rlimit{}})
	}
	if s.CPU > 0 {
		seconds := uint64(s.CPU / time.Second)
		all = append(all, limit{unix.RLIMIT_CPU, unix.Rlimit{Cur: seconds, Max: seconds + 5}})
	}
	if s.Memory > 0 {
		// Data is what a program has. Address space is what it reserves, too,
		// such as the heaps of threads; it counts where data is not counted.
		data, space := uint64(s.Memory), 2*uint64(s.Memory)
		all = append(all, limit{unix.RLIMIT_AS, unix.Rlimit{Cur: space, Max: space}}, limit{unix.RLIMIT_DATA, unix.Rlimit{Cur: data, Max: data}})
	}
	return all
}
