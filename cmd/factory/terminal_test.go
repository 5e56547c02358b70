package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"

	"github.com/nixpkgs-factory/factory/internal/standin"
)

// onTerminal runs a command on a terminal of 80 columns and returns what came on
// its screen.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	if err := pty.Setsize(tty, &pty.Winsize{Rows: 24, Cols: 80}); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() {
		if _, err := io.Copy(&shown, screen); err != nil && !errors.Is(err, syscall.EIO) {
			t.Error(err)
		}
	})
	code := run(t.Context(), args, tty, tty)
	tty.Close()
	reading.Wait()
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, &shown)
	}
	return strings.ReplaceAll(shown.String(), "\r\n", "\n")
}

var (
	colours = regexp.MustCompile("\x1b\\[[0-9]*m")
	moves   = regexp.MustCompile("\x1b\\[[0-9;?]*[A-Za-ln-z]")
)

func TestOnATerminal(t *testing.T) {
	f, err := prepare()
	if err != nil {
		t.Fatal(err)
	}
	upstream, err := f.Start(context.Background(), standin.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer upstream.Close()
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	file := writeConfiguration(t, upstream, "channels: [ { name: nixos-26.05, tags: [ latest ] }, { name: nixos-unstable } ]\n")
	args := []string{"--config", file, "--cache-dir", t.TempDir()}
	do := func(command ...string) string { return onTerminal(t, append(args, command...)...) }

	cycle := do("run", "--once")
	if !colours.MatchString(cycle) || !moves.MatchString(cycle) {
		t.Error("nothing is coloured, or nothing moves")
	}
	for _, bar := range []string{"nixos-26.05 aarch64-linux evaluating", "nixos-26.05 aarch64-linux layers", "nixos-unstable source", " left"} {
		if !strings.Contains(cycle, bar) {
			t.Errorf("no bar says %q", bar)
		}
	}
	text := moves.ReplaceAllString(colours.ReplaceAllString(cycle, ""), "")
	for _, line := range []string{
		`\d\d:\d\d:\d\d nixos-26.05@[0-9a-f]{12} building \(new commit\)\n`,
		`\d\d:\d\d:\d\d nixos-26.05 published nixpkgs-nixos-26.05:[0-9a-f]{12} sha256:[0-9a-f]{12}\n`,
	} {
		if !regexp.MustCompile(line).MatchString(text) {
			t.Errorf("no line of the log is like %s:\n%s", line, text)
		}
	}
	for _, command := range [][]string{{"run", "--once"}, {"plan"}, {"status"}, {"history"}, {"inspect", "nixos-26.05"}, {"doctor"}} {
		shown := moves.ReplaceAllString(colours.ReplaceAllString(do(command...), ""), "")
		for line := range strings.Lines(shown) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
				t.Errorf("%v: a line has %d columns: %s", command, n, line)
			}
		}
	}

	t.Setenv("NO_COLOR", "1")
	if shown := do("run", "--once"); colours.MatchString(shown) {
		t.Errorf("NO_COLOR is set, and there are colours: %q", shown)
	}
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	if shown := do("rebuild", "--channel", "nixos-26.05"); strings.Contains(shown, "\x1b") {
		t.Errorf("the terminal is dumb, and has to understand %q", shown)
	}
}

// claims is a terminal that only says so.
type claims struct{ bytes.Buffer }

func (*claims) Width() int { return 80 }

func TestLog(t *testing.T) {
	at := time.Date(2026, 5, 26, 9, 45, 1, 0, time.Local)
	rev, digest := strings.Repeat("0123456789", 4), "sha256:"+strings.Repeat("0123456789abcdef", 4)
	for _, tt := range []struct {
		name  string
		level slog.Level
		msg   string
		attrs []any
		want  string
	}{
		{"short", slog.LevelInfo, "building", []any{"channel", "nixos-26.05", "rev", rev, "reason", "new commit"},
			"09:45:01 nixos-26.05@012345678901 building (new commit)"},
		{"image", slog.LevelInfo, "published", []any{"channel", "a", "image", "oci:/srv/registry:nixpkgs-a:" + rev, "digest", digest},
			"09:45:01 a published nixpkgs-a:012345678901 sha256:0123456789ab"},
		{"registry", slog.LevelInfo, "published", []any{"image", "ghcr.io/org/nixpkgs-a:" + rev},
			"09:45:01 published ghcr.io/org/nixpkgs-a:012345678901"},
		{"values", slog.LevelInfo, "cycle done", []any{"took", 83*time.Second + 4*time.Millisecond, "bytes", 123456789, "paths", 70},
			"09:45:01 cycle done took=1m23s bytes=118MiB paths=70"},
		{"hashes", slog.LevelInfo, "source", []any{"storePath", "/nix/store/x", "narHash", "sha256-x", "bytes", 1 << 20}, "09:45:01 source bytes=1.0MiB"},
		{"group", slog.LevelInfo, "x", []any{slog.Group("g", "a", 1, slog.Group("h", "b", 2))}, "09:45:01 x g.a=1 g.h.b=2"},
		{"warning", slog.LevelWarn, "lost", nil, "09:45:01 \x1b[33mwarning: lost\x1b[0m"},
		{"error", slog.LevelError, "not published", []any{"channel", "a", "error", errors.New("no route")},
			"09:45:01 a \x1b[31merror: not published\x1b[0m: no route"},
		{"control characters", slog.LevelInfo, "x", []any{"error", "a\x1b[2Jb\nc"}, `09:45:01 x: "a\x1b[2Jb\nc"`},
	} {
		var out bytes.Buffer
		h := &forPeople{out: &out, colour: true, mu: new(sync.Mutex)}
		r := slog.NewRecord(at, tt.level, tt.msg, 0)
		r.Add(tt.attrs...)
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		got := strings.NewReplacer(dim, "", bold, "", "09:45:01"+plain, "09:45:01").Replace(out.String())
		got = regexp.MustCompile("^(09:45:01 (?:a|nixos-26.05)(?:@[0-9a-f]+)?)"+regexp.QuoteMeta(plain)).ReplaceAllString(got, "$1")
		if got != tt.want+"\n" {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	var file bytes.Buffer
	toFile := (&app{stderr: &file, env: func(string) string { return "" }, logFormat: logText}).logger()
	toFile.Info("a", "channel", "c", "rev", "")
	toFile.Info("b", "rev", rev)
	if got := regexp.MustCompile(`time=\S+ `).ReplaceAllString(file.String(), ""); got != "level=INFO msg=a channel=c\nlevel=INFO msg=b rev=012345678901\n" {
		t.Errorf("in a file: %q", got)
	}
	log := (&app{stderr: new(claims), env: func(string) string { return "dumb" }, logFormat: logText}).logger()
	if !log.Handler().Enabled(t.Context(), slog.LevelInfo) || log.Handler().Enabled(t.Context(), slog.LevelDebug) {
		t.Error("details are shown unasked, or nothing is")
	}
}

func TestTables(t *testing.T) {
	rows := [][]string{
		{"CHANNEL", "STATE", "IMAGE", "DIGEST"},
		{"nixos-26.05", "failed: closure: a long text of which every word is wanted", "oci:/a/folder/far/away/from/here/registry:nixpkgs-nixos-26.05:" + strings.Repeat("0123456789", 4), "sha256:" + strings.Repeat("0123456789abcdef", 4)},
		{"nixos-unstable"},
	}
	terminal := new(claims)
	a := &app{stdout: terminal, env: func(string) string { return "" }}
	if err := a.table(rows); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(terminal.String()) {
		if n := utf8.RuneCountInString(line) - 1; n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, want := range append(strings.Fields(rows[1][1]), "nixpkgs-nixos-26.05", "0123456789ab", "nixos-unstable") {
		if !strings.Contains(strings.Join(strings.Fields(terminal.String()), " "), want) {
			t.Errorf("%q is lost in\n%s", want, terminal)
		}
	}
	var file bytes.Buffer
	a.stdout = &file
	if err := a.table(rows); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(file.String()), "\n"); len(lines) != 3 || !strings.HasSuffix(lines[1], rows[1][2]+"  "+rows[1][3]) {
		t.Errorf("elsewhere than on a terminal:\n%s", &file)
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{plural(0, "channel"), "0 channels"},
		{plural(1, "channel"), "1 channel"},
		{plural(2, "repository"), "2 repositories"},
		{roughly(1234 * time.Microsecond), "1ms"},
		{roughly(83 * time.Second), "1m23s"},
		{roughly(70 * time.Second), "1m10s"},
		{roughly(20 * time.Minute), "20m"},
		{roughly(3 * time.Hour), "3h0m"},
		{roughly(47*time.Hour + 59*time.Minute), "47h59m"},
		{roughly(187*24*time.Hour + 3*time.Hour), "187 days"},
		{ago(187*24*time.Hour + 3*time.Hour), "187 days ago"},
		{ago(24 * time.Hour), "1 day ago"},
		{ago(90 * time.Minute), "1 hour ago"},
		{ago(time.Second), "just now"},
		{ago(-time.Hour), "in 1 hour"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	if s := (&app{env: os.Getenv}).screen(new(bytes.Buffer)); s != nil {
		t.Errorf("a buffer is a terminal: %+v", s)
	}
}
