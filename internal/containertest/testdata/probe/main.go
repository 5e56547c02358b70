// Command probe tells what a container is like, for images that have nothing else.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
)

func main() {
	if err := probe(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func probe(args []string) error {
	if args[0] == "tail" {
		wait := make(chan os.Signal, 1)
		signal.Notify(wait, os.Interrupt)
		<-wait
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
