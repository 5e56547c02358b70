// Package release makes the files of a release: for each platform an archive with
// the program and an SBOM of it, and the checksums of all.
//
// The same commit and the same Go give the same bytes, so that anybody can make a
// release again and compare.
package release

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/gobuild"
	"github.com/nixpkgs-factory/factory/internal/sbom"
)

// Platform is what programs are for.
type Platform struct{ OS, Arch string }

func (p Platform) String() string { return p.OS + "/" + p.Arch }

// Platforms are those of a release.
var Platforms = []Platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

// Names of files beside the archives.
const (
	Checksums = "SHA256SUMS"
	Notes     = "NOTES.md" // what the change log says of the version
)

// Options say what is released.
type Options struct {
	Source    string // folder of the module, a checkout
	To        string // folder for the files; it must not be there
	Version   string // such as v1.2.3; the sources have to be tagged so
	Platforms []Platform
}

// Make makes the files, and gives their names in order. The notes are none of them.
func Make(ctx context.Context, o Options) (files []string, err error) {
	log, err := os.ReadFile(filepath.Join(o.Source, "docs/CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	notes, err := section(string(log), o.Version)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(o.To, 0o755); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(o.To))
		}
	}()
	work, err := os.MkdirTemp("", "factory-release-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	for _, p := range o.Platforms {
		made, err := o.platform(ctx, p, work)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		files = append(files, made...)
	}
	sums, err := checksums(o.To, files)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(o.To, Checksums), sums, 0o644); err != nil {
		return nil, err
	}
	return append(files, Checksums), os.WriteFile(filepath.Join(o.To, Notes), []byte(notes), 0o644)
}

// platform makes the files of one platform.
func (o Options) platform(ctx context.Context, p Platform, work string) ([]string, error) {
	program := filepath.Join(work, "factory")
	if err := (gobuild.Program{Source: o.Source, OS: p.OS, Arch: p.Arch, Versions: true}).Compile(ctx, program); err != nil {
		return nil, err
	}
	built, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	when, err := committed(built, o.Version)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("factory_%s_%s_%s", o.Version, p.OS, p.Arch)
	archive, list := name+".tar.gz", name+".spdx.json"
	members := []member{{"factory", 0o755, data}}
	for _, text := range []string{"LICENSE", "README.md"} {
		data, err := os.ReadFile(filepath.Join(o.Source, text))
		if err != nil {
			return nil, err
		}
		members = append(members, member{text, 0o644, data})
	}
	if err := writeArchive(filepath.Join(o.To, archive), name, when, members); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	document, err := sbom.Program{Name: "factory", SHA256: hex.EncodeToString(sum[:]), Created: when, Built: built}.SPDX()
	if err != nil {
		return nil, err
	}
	return []string{archive, list}, os.WriteFile(filepath.Join(o.To, list), document, 0o644)
}

// committed is when the commit was made that a program was compiled from. Go has
// found the version among the tags of the commit.
func committed(built *debug.BuildInfo, version string) (time.Time, error) {
	if built.Main.Version != version {
		return time.Time{}, fmt.Errorf("the sources are %s, not %s: want a checkout without changes of a commit that has the tag %s", built.Main.Version, version, version)
	}
	for _, s := range built.Settings {
		if s.Key == "vcs.time" {
			return time.Parse(time.RFC3339, s.Value)
		}
	}
	return time.Time{}, errors.New("the program does not say its commit: want a checkout, and Git")
}

// checksums are as sha256sum has them.
func checksums(dir string, files []string) ([]byte, error) {
	var text []byte
	for _, name := range slices.Sorted(slices.Values(files)) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		text = fmt.Appendf(text, "%x  %s\n", sha256.Sum256(data), name)
	}
	return text, nil
}

// section is what a change log says of a version, below a heading that begins with
// it.
func section(log, version string) (string, error) {
	for _, part := range strings.Split("\n"+log, "\n## ")[1:] {
		heading, text, _ := strings.Cut(part, "\n")
		if name, _, _ := strings.Cut(heading, " "); name == version && strings.TrimSpace(text) != "" {
			return strings.TrimSpace(text) + "\n", nil
		}
	}
	return "", fmt.Errorf("docs/CHANGELOG.md says nothing of %q: want a heading ## %s, and what has changed below it", version, version)
}
