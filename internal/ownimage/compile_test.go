package ownimage

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// TestCompile compiles the real program, for the other architecture too.
func TestCompile(t *testing.T) {
	source, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, machine := range map[string]elf.Machine{"x86_64-linux": elf.EM_X86_64, "aarch64-linux": elf.EM_AARCH64} {
		t.Run(name, func(t *testing.T) {
			system, err := config.ParseSystem(name)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "factory")
			if err := Compile(t.Context(), source, system, file); err != nil {
				t.Fatal(err)
			}
			program, err := elf.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer program.Close()
			if program.Machine != machine {
				t.Errorf("the program is for %v, want %v", program.Machine, machine)
			}
			for _, p := range program.Progs {
				if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
					t.Errorf("the program has a segment %v, so it is not static", p.Type)
				}
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte(source+"/")) {
				t.Errorf("the program has the name of the folder %s in it", source)
			}
		})
	}
}

// The same sources in another folder give the same program.
func TestCompileElsewhere(t *testing.T) {
	system, err := config.ParseSystem("aarch64-linux")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "sources")
	for _, part := range []string{"cmd", "internal", "images", "examples"} {
		if err := os.CopyFS(filepath.Join(folder, part), os.DirFS(filepath.Join("../..", part))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, name), string(data), 0o644)
	}
	var programs [2][]byte
	for i, source := range []string{"../..", folder} {
		file := filepath.Join(dir, "factory")
		if err := Compile(t.Context(), source, system, file); err != nil {
			t.Fatal(err)
		}
		if programs[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(programs[0], programs[1]) {
		t.Error("the programs differ")
	}
}

func TestCompileFails(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.org/broken\n\ngo 1.26\n", 0o644)
	write(t, filepath.Join(dir, "cmd/factory/main.go"), "package main\n\nfunc main() { undefined() }\n", 0o644)
	system, err := config.ParseSystem("aarch64-linux")
	if err != nil {
		t.Fatal(err)
	}
	err = Compile(t.Context(), dir, system, filepath.Join(dir, "factory"))
	if err == nil || !strings.Contains(err.Error(), "compile for aarch64-linux") || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("Compile() = %v, want what the compiler says", err)
	}
}
