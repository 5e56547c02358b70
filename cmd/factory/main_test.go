package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/nixpkgs-factory/factory/internal/standin"
	"github.com/nixpkgs-factory/factory/internal/upload/attictest"
)

// TestMain is the program itself where a script runs "factory".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"factory": main})
}

var prepare = sync.OnceValues(func() (*standin.Fixture, error) {
	return standin.Prepare(context.Background(), standin.Options{Log: os.Stderr})
})

// A script has a stand-in upstream of its own and a channels.yaml that follows
// it. Besides what testscript knows there are these commands:
//
//	exits CODE program …      runs it and checks its exit code
//	head CHANNEL CHANGE       moves a channel to the commit of a change
//	ratelimit                 uses the rate limit of the API up
//	hold PREFIX               keeps requests waiting whose path begins so
//	held                      waits until there is one
//	free                      lets them go on
//	refuse [PREFIX]           answers requests with 403 whose path begins so, or no more
//	registry VARIABLE [login] starts a registry and puts its address into the variable;
//	                          with login it wants that of ann, pa55word
//	hook VARIABLE FILE        starts a webhook that appends events to the file, and puts its
//	                          address into the variable
//	await URL                 waits until something answers
//	requests COUNT PREFIX     counts requests to the upstream
//	private-nix               makes a Nix store; "inside PROGRAM …" has it as /nix
//	attic VARIABLE            starts an Attic server, and puts the address of its cache
//	                          into the variable, and a token into TOKEN
//	cached NAME               tells whether the cache has such an object
//
// and in the environment REV_<CHANGE>, TREE_<CHANGE>, UPSTREAM, IMAGES, PORT and PROGRAM,
// the folder with nothing but the program.
func TestScripts(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               func(env *testscript.Env) error { return setUp(env, f) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "head": moveHead, "ratelimit": useUpRateLimit, "registry": startRegistry,
			"hold": hold, "held": held, "free": free, "refuse": refuse, "await": await, "requests": countRequests,
			"hook": hook, "private-nix": privateNix, "attic": startAttic, "cached": cached,
		},
	})
}

// script is what a running script has.
type script struct {
	t        testscript.T
	fixture  *standin.Fixture
	upstream *standin.Server
	attic    *attictest.Server

	held    chan struct{}
	release func()
	allow   func()
}

const configuration = `upstream: { repository: NixOS/nixpkgs, api: %[1]s, archive: %[2]s }
substituters:
  - url: %[3]s
    keys: [ "%[4]s" ]
images: [ { folder: %[5]q } ]
systems: [ aarch64-linux ]
channels:
  - name: nixos-26.05
    tags: [ latest ]
  - name: nixos-unstable
`

func setUp(env *testscript.Env, f *standin.Fixture) error {
	upstream, err := f.Start(context.Background(), standin.Options{})
	if err != nil {
		return err
	}
	env.Defer(upstream.Close)
	s := &script{t: env.T(), fixture: f, upstream: upstream}
	env.Values["script"] = s
	image, err := filepath.Abs("../../images/base")
	if err != nil {
		return err
	}
	text := fmt.Sprintf(configuration, upstream.API(), upstream.Archive(), upstream.Cache(), upstream.PublicKey(), image)
	if err := os.WriteFile(filepath.Join(env.WorkDir, "channels.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	for _, change := range []string{"old", "shared", "release-doc", "release-leaf", "next", "next-doc"} {
		name := strings.ToUpper(strings.ReplaceAll(change, "-", "_"))
		env.Setenv("REV_"+name, f.Commit(change).Rev)
		env.Setenv("TREE_"+name, f.Commit(change).Tree)
	}
	program, err := exec.LookPath("factory")
	if err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	home := filepath.Join(env.WorkDir, "home")
	env.Setenv("HOME", home)
	env.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker"))
	env.Setenv("PROGRAM", filepath.Dir(program))
	env.Setenv("UPSTREAM", upstream.URL())
	env.Setenv("IMAGES", filepath.Dir(image))
	env.Setenv("ARCHIVE_RELEASE_DOC", f.ArchiveFile(f.Commit("release-doc").Rev))
	env.Setenv("PORT", port)
	env.Setenv("FACTORY_NIX", "path")         // the one that the miniature nixpkgs names takes time to fetch
	env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector makes every program end a second later
	return os.Mkdir(home, 0o755)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

// widest is how long a line of help may be.
const widest = 91

// Every command explains itself, with examples that are commands of its own.
func TestHelp(t *testing.T) {
	root := (&app{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer), env: os.Getenv}).rootCommand()
	var commands []*cobra.Command
	for _, cmd := range root.Commands() {
		if cmd.Name() != "help" {
			commands = append(commands, cmd)
		}
	}
	if len(commands) < 7 {
		t.Fatalf("there are %d commands, want at least 7", len(commands))
	}
	for _, cmd := range append(commands, root) {
		var stdout, stderr bytes.Buffer
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		if code := run(t.Context(), args, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
			t.Errorf("%v: exit code %d, stderr %q", args, code, &stderr)
		}
		for _, want := range []string{"Usage:", "Examples:", "  " + cmd.CommandPath()} {
			if !strings.Contains(stdout.String(), want) {
				t.Errorf("%v: no %q in\n%s", args, want, &stdout)
			}
		}
		if cmd.Short == "" || cmd.Long == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%v: short help %q, long help %q", args, cmd.Short, cmd.Long)
		}
		for line := range strings.Lines(cmd.Long) {
			if n := utf8.RuneCountInString(line); n > widest {
				t.Errorf("%v: a line of %d characters: %s", args, n, line)
			}
		}
	}
}
