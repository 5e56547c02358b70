package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/record"
)

// examineState finds out whether a cycle could write the state, and reads it.
func examineState(c config.Config) finding {
	const check, advice = "state", "name another file with --state, or give this user the right to write it"
	if _, err := os.Stat(c.State); err != nil {
		return judge(check, c.State+": not there, the first cycle makes it", tryWrite(filepath.Dir(c.State)), advice)
	}
	if err := canWrite(c.State); err != nil {
		return judge(check, c.State, err, advice)
	}
	store, err := record.Snapshot(c.State) // a copy: a factory may be running, or about to start
	if err == nil {
		defer store.Close()
	}
	return judge(check, c.State, err, advice)
}

// canWrite tells why a file cannot be written, by opening it.
func canWrite(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func examineDir(c config.Config) finding {
	return judge("working folder", c.Cache, tryWrite(c.Cache), "name another one with --cache-dir, or give this user the right to write it")
}

// examineDestination finds out whether every repository in a destination can be
// pushed to.
func (a *app) examineDestination(ctx context.Context, c config.Config, dest config.Destination) finding {
	check := "destination " + dest.To
	if dest.Layout != "" {
		return judge(check, "OCI layout, can be written", tryWrite(filepath.Join(dest.Layout, "blobs", "sha256")), "give this user the right to write the folder")
	}
	repository, err := a.repositories(c)
	if err != nil {
		return judge(check, "", err, "")
	}
	all := repositoriesOf(c)
	for _, under := range all {
		repo, err := repository(dest, under)
		if err == nil {
			err = repo.CanPush(ctx)
		}
		if err != nil {
			return judge(check, "", fmt.Errorf("%s (asked %s): %w", dest.Repository(under), a.asWhom(c, dest), err), "log in with docker login, or set REGISTRY_USER and REGISTRY_PASSWORD; some registries want the repository to be created first")
		}
	}
	return judge(check, "may push to "+plural(len(all), "repository"), nil, "")
}

// repositoriesOf are the repositories that cycles push to, below a destination.
func repositoriesOf(c config.Config) []string {
	var all []string
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			if under := i.RepositoryOf(ch.Name); !ch.Frozen && !slices.Contains(all, under) {
				all = append(all, under)
			}
		}
	}
	return all
}

// asWhom says whether there are credentials for a destination.
func (a *app) asWhom(c config.Config, dest config.Destination) string {
	const nobody = "as nobody: there are no credentials"
	keychain, err := a.keychain(c.Publish)
	if err != nil {
		return nobody
	}
	repo, err := dest.Remote("x")
	if err != nil {
		return nobody
	}
	if auth, err := keychain.Resolve(repo); err != nil || auth == authn.Anonymous {
		return nobody + " for " + repo.RegistryStr()
	}
	return "with credentials for " + repo.RegistryStr()
}

// tryWrite finds out whether files can be written in a folder, which need not be
// there, and leaves nothing behind.
func tryWrite(dir string) error {
	var made []string // the innermost first
	for folder := dir; ; folder = filepath.Dir(folder) {
		if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) || folder == filepath.Dir(folder) {
			break
		}
		made = append(made, folder)
	}
	defer func() {
		for _, folder := range made {
			os.Remove(folder) // unless somebody else has put something there
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}
