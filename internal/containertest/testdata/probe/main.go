// Command probe tells what a container is like, for images that have nothing
// else. It is also their tail, and as much of a shell as this package needs.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	if err := probe(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// shell runs sh -c 'exec "$@" > FILE 2> FILE' NAME COMMAND...
func shell(args []string) error {
	words := strings.Fields(args[2])
	if len(words) != 6 || words[0] != "exec" || words[2] != ">" || words[4] != "2>" {
		return fmt.Errorf("cannot do %q", args[2])
	}
	for fd, name := range map[int]string{1: words[3], 2: words[5]} {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		if err := syscall.Dup3(int(f.Fd()), fd, 0); err != nil {
			return err
		}
	}
	program, err := exec.LookPath(args[4])
	if err != nil {
		return err
	}
	return syscall.Exec(program, args[4:], os.Environ())
}

func probe(args []string) error {
	switch filepath.Base(args[0]) {
	case "sh":
		return shell(args)
	case "tail":
		wait := make(chan os.Signal, 1)
		signal.Notify(wait, os.Interrupt)
		<-wait
		return nil
	}
	switch args[1] {
	case "args":
		fmt.Printf("%q\n", args[2:])
	case "env":
		fmt.Println(os.Getenv(args[2]))
	case "who":
		dir, err := os.Getwd()
		fmt.Println(os.Getuid(), dir)
		return err
	case "copy": // from standard input to both outputs
		_, err := io.Copy(io.MultiWriter(os.Stdout, os.Stderr), os.Stdin)
		return err
	case "read":
		data, err := os.ReadFile(args[2])
		fmt.Printf("%s", data)
		return err
	case "write":
		return os.WriteFile(args[2], []byte(args[3]), 0o644)
	case "dial":
		conn, err := net.Dial("tcp", args[2])
		if err == nil {
			conn.Close()
		}
		return err
	case "exit":
		code, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		os.Exit(code)
	}
	return nil
}
