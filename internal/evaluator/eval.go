package evaluator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/run"
)

// Expression is what is to be evaluated: the function in a file, called with
// arguments that are strings, or an attribute of what it returns.
type Expression struct {
	File string // below one of the folders in Read
	Attr string // "": all of it
	Args map[string]string
	Read []string // the folders that may be read
}

// EvalError is what Nix said when it refused an expression.
type EvalError struct {
	Stderr string
	Ended  error // by a signal, for example
}

func (e *EvalError) Error() string {
	if strings.TrimSpace(e.Stderr) == "" {
		return instantiate + ": " + e.Ended.Error()
	}
	return instantiate + ": " + lastError(e.Stderr)
}

// settings are the same for every evaluation. They hold for what no option or
// variable of ours says otherwise, whatever the machine's configuration says.
var settings = [][2]string{
	{"restrict-eval", "true"},
	{"allowed-uris", ""},
	{"allow-import-from-derivation", "false"},
	{"allow-unsafe-native-code-during-evaluation", "false"},
	{"experimental-features", ""},
	{"plugin-files", ""},
	{"nix-path", ""},
	{"substitute", "false"},
}

// nowhere is where an evaluation looks for programs. It needs none, and what
// Nix would start for it, such as git, is led by what it finds in folders.
const nowhere = "/var/empty"

// noCache is where an evaluation would keep what it fetches: no such folder can be
// made, so that whatever fetches fails, also by file:// from the folders that may
// be read. In newer versions that is a way out of them: an archive is unpacked
// into the store, with links in it, and a link of the tree leads there.
var noCache = []string{"XDG_CACHE_HOME=/dev/null", "NIX_CACHE_HOME=/dev/null/nix"}

// evalGrace is short: Nix looks for interrupts rarely while it evaluates, and
// leaves nothing behind that would have to be put in order.
const evalGrace = 300 * time.Millisecond

// Eval evaluates an expression, strictly, and returns the result as JSON. The
// run has a scratch folder of its own for everything that Nix might write, and
// no network setting, registry, overlay or configuration of the user's.
//
// The store is the dummy store, to which nothing can be written; for a Nix that
// cannot evaluate with it, one below scratch that is thrown away with it. Which
// one, and whether there are namespaces, is decided by a trial of ours, and never
// by what an expression does: one that fails as the strictest mode has it is only
// evaluated in another one if the trial fails in that mode, too.
func (n Nix) Eval(ctx context.Context, scratch string, e Expression) ([]byte, error) {
	out, untried, err := n.beforeTrial(ctx, scratch, e)
	if untried && err == nil {
		return out, nil
	}
	mode, no := n.Mode(ctx, scratch)
	if no != nil {
		return nil, no
	}
	if untried && mode == strictest {
		return nil, err
	}
	return n.eval(ctx, mode, scratch, e)
}

// beforeTrial evaluates as the strictest mode has it, unless there was a trial.
// Until it is done, there is none: what it takes of the machine might have a say.
func (n Nix) beforeTrial(ctx context.Context, scratch string, e Expression) (out []byte, untried bool, err error) {
	n.trial.mu.RLock()
	defer n.trial.mu.RUnlock()
	if n.trial.mode != nil {
		return nil, false, nil
	}
	out, err = n.eval(ctx, strictest, scratch, e)
	return out, true, err
}

func (n Nix) eval(ctx context.Context, mode Mode, scratch string, e Expression) ([]byte, error) {
	if err := os.MkdirAll(scratch, 0o755); err != nil {
		return nil, err
	}
	scratch, err := folder(scratch)
	if err != nil {
		return nil, err
	}
	if e, err = e.resolved(); err != nil {
		return nil, err
	}
	if mode.Writable && !mode.Namespaces {
		if err := closed(e.Read); err != nil {
			return nil, err
		}
	}
	if mode.Writable { // what the evaluation has written there it may read
		store := filepath.Join(scratch, "root/nix/store")
		if err := os.MkdirAll(store, 0o755); err != nil {
			return nil, err
		}
		e.Read = append(e.Read, store)
	}
	env, err := isolated(scratch, mode)
	if err != nil {
		return nil, err
	}
	argv := append([]string{"--eval", "--strict", "--json"}, e.arguments()...)
	limits := n.Limits.withDefaults()
	program, err := n.program(mode)
	if err != nil {
		return nil, err
	}
	c := run.Command{
		Name:   program.name,
		Args:   slices.Concat(program.args, argv, []string{mode.option()}),
		Dir:    scratch,
		Env:    env,
		Output: maxOutput,
		Limit:  limits.Timeout,
		Grace:  evalGrace,
		Confined: &run.Confinement{
			Memory:  limits.Memory,
			CPU:     limits.Timeout + time.Minute,
			NoFiles: !mode.Writable,
		},
	}
	if mode.Namespaces {
		c.Confined.Namespaces = &run.Namespaces{Read: append(program.beside, e.Read...), Store: program.store}
		if mode.Writable {
			c.Confined.Namespaces.Write = []string{scratch}
		} else {
			c.Confined.Namespaces.Read = append(c.Confined.Namespaces.Read, scratch)
		}
	}
	out, err := c.Run(ctx)
	return out, refused(err, limits)
}

// EvalHere evaluates an expression, as restricted, so that the derivations it
// comes upon are written to the store of this machine. options are further
// ones.
func (n Nix) EvalHere(ctx context.Context, e Expression, options ...string) ([]byte, error) {
	e, err := e.resolved()
	if err != nil {
		return nil, err
	}
	if err := closed(e.Read); err != nil {
		return nil, err
	}
	argv := append([]string{"--eval", "--strict", "--json", "--read-write-mode"}, e.arguments()...)
	for _, s := range settings {
		argv = append(argv, "--option", s[0], s[1])
	}
	limits := n.Limits.withDefaults()
	c := n.command("nix-instantiate", append(argv, options...)...)
	c.Env = append(append(c.Env, "NIX_PATH=", "PATH="+nowhere), noCache...)
	c.Limit = limits.Timeout
	c.Confined = &run.Confinement{Memory: limits.Memory, CPU: limits.Timeout + time.Minute}
	out, err := c.Run(ctx)
	return out, refused(err, limits)
}

// refused is an EvalError where Nix itself has ended the evaluation.
func refused(err error, limits Limits) error {
	var exit *exec.ExitError
	var ended *run.Error
	if errors.As(err, &ended) {
		ended.Name = instantiate // whatever was started for it
	}
	if ended == nil || !errors.As(err, &exit) {
		return err
	}
	refused := &EvalError{Stderr: ended.Stderr, Ended: exit}
	if noMemory.MatchString(ended.Stderr) {
		return fmt.Errorf("%w (it may have %d MiB)", refused, limits.Memory>>20)
	}
	return refused
}

var noMemory = regexp.MustCompile(`(?i)out of memory|cannot allocate memory|bad_alloc`)

// arguments are those of nix-instantiate.
func (e Expression) arguments() []string {
	argv := []string{e.File}
	if e.Attr != "" {
		argv = append(argv, "--attr", e.Attr)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Args)) {
		argv = append(argv, "--argstr", name, e.Args[name])
	}
	for i, dir := range e.Read { // with a name in front, for a path may have a "=" in it
		argv = append(argv, "-I", fmt.Sprintf("factory-%d=%s", i, dir))
	}
	return argv
}

// resolved names everything by paths without links: what may be read is
// compared with where links lead.
func (e Expression) resolved() (Expression, error) {
	read := make([]string, len(e.Read))
	args := maps.Clone(e.Args)
	for i, dir := range e.Read {
		var err error
		if read[i], err = folder(dir); err != nil {
			return e, err
		}
		for name, value := range args {
			if value == dir {
				args[name] = read[i]
			}
		}
	}
	e.Read, e.Args = read, args
	dir, err := folder(filepath.Dir(e.File))
	e.File = filepath.Join(dir, filepath.Base(e.File))
	return e, err
}

func folder(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// isolated returns an environment in which Nix finds nothing of the user's.
func isolated(scratch string, mode Mode) ([]string, error) {
	var config strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&config, "%s = %s\n", s[0], s[1])
	}
	config.WriteString("build-users-group =\n")
	env := []string{
		"PATH=" + nowhere,
		"LANG=C.UTF-8",
		"USER=nobody", // it wants a name where it writes to a store, and sees no list of users
		"NIX_REMOTE=" + mode.store(scratch),
		"NIX_CONFIG=" + config.String(),
		"NIX_USER_CONF_FILES=",
		"NIX_PATH=",
	}
	for _, name := range []string{
		"HOME", "TMPDIR", "NIX_CONF_DIR", "NIX_STATE_DIR", "NIX_LOG_DIR",
		"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
	} {
		dir := filepath.Join(scratch, strings.ToLower(name))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		env = append(env, name+"="+dir)
	}
	return append(env, noCache...), nil
}
