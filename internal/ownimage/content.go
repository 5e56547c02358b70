package ownimage

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/gobuild"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/recipe"
)

// Compile compiles the factory for a system from the module in folder source
// into the file to. It is one static file, whatever machine this is; nothing of
// the folder, the machine or the version control gets into it.
func Compile(ctx context.Context, source string, system config.System, to string) error {
	err := gobuild.Program{Source: source, OS: system.OS, Arch: system.Arch}.Compile(ctx, to)
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("compile for %s: %w", system, err)
	}
	return err
}

// runnerFiles are for jobs in a container: runners of Gitea and Forgejo keep it
// alive with sleep.
var runnerFiles = []layers.File{{Path: "/bin/sleep", Target: "/nix/profile/bin/sleep"}}

// files are the entries of the layer. Of the image folder those are taken that
// count in the recipe, so that the image makes the same images as the folder.
func (c Content) files(program string) ([]layers.File, error) {
	data, err := os.ReadFile(c.Config)
	if err != nil {
		return nil, err
	}
	if data, err = unplaced(data); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Config, err)
	}
	files := []layers.File{
		{Path: ProgramPath, Mode: 0o755, From: program},
		{Path: ConfigDir + "/channels.yaml", Mode: 0o644, Data: data},
		// A volume belongs here. Without one any user can run the factory all
		// the same.
		{Path: StateDir, Dir: true, Mode: 0o1777},
	}
	more, err := c.imageFolders()
	return append(files, more...), err
}

// imageFolders returns the entries of the image folders, and of those that they build
// on, each under its own name.
func (c Content) imageFolders() ([]layers.File, error) {
	var files []layers.File
	var seen []string
	for _, image := range c.Images {
		folders, err := recipe.Folders(image)
		if err != nil {
			return nil, err
		}
		for _, folder := range folders {
			real, err := filepath.EvalSymlinks(folder)
			if err != nil {
				return nil, err
			}
			if slices.Contains(seen, real) {
				continue
			}
			seen = append(seen, real)
			more, err := entries(real)
			if err != nil {
				return nil, err
			}
			files = append(files, more...)
		}
	}
	return files, nil
}

func entries(folder string) ([]layers.File, error) {
	all, err := recipe.Files(folder)
	if err != nil {
		return nil, err
	}
	var files []layers.File
	for _, f := range all {
		entry := layers.File{Path: path.Join(ConfigDir, "images", filepath.Base(folder), f.Name), Mode: 0o644, From: f.From}
		switch {
		case f.Target != "":
			entry.From, entry.Target = "", f.Target
		case f.Executable:
			entry.Mode = 0o755
		}
		files = append(files, entry)
	}
	return files, nil
}
