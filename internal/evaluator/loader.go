package evaluator

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

// loaded is how the nix-instantiate of a closure is started whose store objects are
// in the folder store: by its own dynamic loader, which is told where its
// libraries are. The programs themselves look for both in /nix/store.
func loaded(store string, root nix.StorePath) (program, error) {
	s := elsewhere{store: store, libraries: make(map[string]bool)}
	p, err := s.program(path.Join(root.String(), "bin", instantiate))
	if err != nil {
		return program{}, fmt.Errorf("%s by its own loader: %w", root.Base(), said.Error(err))
	}
	return p, nil
}

// elsewhere is a store that is not at its place. Files in it have the names that
// they would have at their place.
type elsewhere struct {
	store     string
	folders   []string        // of libraries, on this machine
	libraries map[string]bool // that were looked at, by name
}

func (s *elsewhere) program(name string) (program, error) {
	name, err := s.resolve(name)
	if err != nil {
		return program{}, err
	}
	file, err := s.open(name)
	if err != nil {
		return program{}, err
	}
	defer file.Close()
	interpreter, err := interpreter(file)
	if err != nil {
		return program{}, fmt.Errorf("%s: %w", name, err)
	}
	if interpreter, err = s.resolve(interpreter); err != nil {
		return program{}, err
	}
	if err := s.follow(name, file); err != nil {
		return program{}, err
	}
	return program{
		name: s.here(interpreter),
		args: []string{"--argv0", instantiate, "--library-path", strings.Join(s.folders, ":"), s.here(name)},
	}, nil
}

// here is where a file is on this machine. Its name has no links in it.
func (s *elsewhere) here(name string) string {
	return filepath.Join(s.store, strings.TrimPrefix(name, nix.StoreDir))
}

// resolve follows the links of a path, also from one store object to another.
func (s *elsewhere) resolve(name string) (string, error) {
	const most = 40
	done, rest := "/", strings.Split(path.Clean(name), "/")
	for links := 0; len(rest) > 0; {
		next := path.Join(done, rest[0])
		rest = rest[1:]
		if !strings.HasPrefix(next, nix.StoreDir+"/") {
			done = next // a folder above, or what leads out and is refused at the end
			continue
		}
		target, err := os.Readlink(s.here(next))
		if err != nil {
			done = next
			continue
		}
		if links++; links > most {
			return "", fmt.Errorf("%s: more than %d links", name, most)
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(path.Clean(target), "/"), rest...)
	}
	if !strings.HasPrefix(done, nix.StoreDir+"/") {
		return "", fmt.Errorf("%s leads out of the store, to %s", name, done)
	}
	return done, nil
}

func (s *elsewhere) open(name string) (*elf.File, error) {
	file, err := elf.Open(s.here(name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return file, nil
}

// interpreter is the dynamic loader that a program names.
func interpreter(file *elf.File) (string, error) {
	const most = 4 << 10
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(segment.Open(), most))
			return string(bytes.TrimRight(text, "\x00")), err
		}
	}
	return "", errors.New("it names no dynamic loader")
}

// follow notes the folders of all libraries that a file needs, and that those do:
// as the loader finds them, the first one of each name.
func (s *elsewhere) follow(name string, file *elf.File) error {
	needed, err := file.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, library := range needed {
		if s.libraries[library] {
			continue
		}
		s.libraries[library] = true
		if err := s.library(library, name, file); err != nil {
			return err
		}
	}
	return nil
}

func (s *elsewhere) library(library, by string, file *elf.File) error {
	for _, folder := range searched(by, file) {
		name, err := s.resolve(path.Join(folder, library))
		if err != nil {
			continue
		}
		found, err := s.open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer found.Close()
		if folder, err = s.resolve(folder); err != nil {
			return err
		}
		s.add(s.here(folder))
		return s.follow(name, found)
	}
	// The loader looks in its own folder, too, and libraries in those of their users.
	return nil
}

// searched are the folders where a file looks for libraries.
func searched(name string, file *elf.File) []string {
	var folders []string
	for _, tag := range []elf.DynTag{elf.DT_RPATH, elf.DT_RUNPATH} {
		texts, _ := file.DynString(tag)
		for _, text := range texts {
			folders = append(folders, strings.Split(strings.ReplaceAll(text, "$ORIGIN", path.Dir(name)), ":")...)
		}
	}
	return folders
}

func (s *elsewhere) add(folder string) {
	for _, known := range s.folders {
		if known == folder {
			return
		}
	}
	s.folders = append(s.folders, folder)
}
