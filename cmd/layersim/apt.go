package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nixpkgs-factory/factory/internal/layersim"
)

// paragraph is one of Debian's control files, by field.
type paragraph map[string]string

// installed asks apt what an empty system would get with the packages, and what is
// known of each.
func installed(ctx context.Context, packages []string) (map[string]paragraph, error) {
	plan, err := output(ctx, "", "apt-get", append([]string{"install", "--simulate", "--no-install-recommends",
		"--option", "Dir::State::status=/dev/null"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var wanted []string
	for _, m := range regexp.MustCompile(`(?m)^Inst (\S+) (?:\[\S+\] )?\((\S+) `).FindAllSubmatch(plan, -1) {
		wanted = append(wanted, string(m[1])+"="+string(m[2]))
	}
	text, err := output(ctx, "", "apt-cache", append([]string{"show"}, wanted...)...)
	if err != nil {
		return nil, err
	}
	found := make(map[string]paragraph)
	for block := range strings.SplitSeq(string(text), "\n\n") {
		p := make(paragraph)
		for line := range strings.SplitSeq(block, "\n") {
			if key, value, ok := strings.Cut(line, ": "); ok && !strings.HasPrefix(line, " ") {
				p[key] = value
			}
		}
		if name := p["Package"]; name != "" && found[name] == nil {
			found[name] = p
		}
	}
	return found, nil
}

// aptGraph makes the dependency graph of packages.
func aptGraph(ctx context.Context, packages []string) (layersim.Graph, error) {
	found, err := installed(ctx, packages)
	if err != nil {
		return layersim.Graph{}, err
	}
	provider := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		for _, virtual := range alternatives(found[name]["Provides"], ",") {
			if provider[virtual] == "" {
				provider[virtual] = name
			}
		}
	}
	nodes := make(map[string]layersim.Node)
	for name, p := range found {
		node := layersim.Node{Package: layersim.Package{Source: source(p)}}
		kib, _ := strconv.ParseInt(p["Installed-Size"], 10, 64)
		node.Installed = kib << 10
		node.Packed, _ = strconv.ParseInt(p["Size"], 10, 64)
		for _, group := range strings.Split(p["Pre-Depends"]+","+p["Depends"], ",") {
			for _, one := range alternatives(group, "|") {
				if found[one] == nil {
					one = provider[one]
				}
				if one != "" && one != name {
					node.Needs = append(node.Needs, one)
					break
				}
			}
		}
		nodes[name] = node
	}
	return layersim.Order("", nodes, packages)
}

// alternatives are the names of a list of packages, without versions and architectures.
func alternatives(list, separator string) (names []string) {
	for one := range strings.SplitSeq(list, separator) {
		if fields := strings.Fields(one); len(fields) > 0 {
			name, _, _ := strings.Cut(fields[0], ":")
			names = append(names, name)
		}
	}
	return names
}

func source(p paragraph) string {
	name, _, _ := strings.Cut(p["Source"], " ")
	return cmp.Or(name, p["Package"])
}

// aptReleases reads from the changelogs of packages, and of all that they need, when
// their sources were released since a day.
func aptReleases(ctx context.Context, packages []string, since time.Time) ([]layersim.Release, error) {
	dir, err := os.MkdirTemp("", "layersim-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	known := make(map[string]bool)
	var all []layersim.Release
	found, err := installed(ctx, packages)
	if err != nil {
		return nil, err
	}
	var args []string
	for name, p := range found {
		args = append(args, name+"="+p["Version"])
	}
	if _, err := output(ctx, dir, "apt-get", append([]string{"download", "--option", "APT::Sandbox::User=root"}, args...)...); err != nil {
		return nil, err
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	for _, file := range files {
		name, _, _ := strings.Cut(filepath.Base(file), "_")
		src := source(found[name])
		if known[src] {
			continue
		}
		text, err := changelog(ctx, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if text != nil {
			known[src] = true
			all = append(all, releases(src, text, since)...)
		}
	}
	return all, nil
}

var changelogs = regexp.MustCompile(`^\./usr/share/doc/[^/]+/changelog(\.Debian)?\.gz$`)

// changelog returns a package's changelog, nil if another one of its source has it.
// Of two, one is upstream's own.
func changelog(ctx context.Context, deb string) ([]byte, error) {
	archive, err := output(ctx, "", "dpkg-deb", "--fsys-tarfile", deb)
	if err != nil {
		return nil, err
	}
	var best []byte
	for tr := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return best, nil
		}
		if err != nil {
			return nil, err
		}
		debian := path.Base(h.Name) == "changelog.Debian.gz"
		if !changelogs.MatchString(h.Name) || h.Typeflag != tar.TypeReg || best != nil && !debian {
			continue
		}
		z, err := gzip.NewReader(tr)
		if err != nil {
			return nil, err
		}
		if best, err = io.ReadAll(z); err != nil {
			return nil, err
		}
	}
}

var (
	entry  = regexp.MustCompile(`^\S+ \((\S+)\) ([a-zA-Z-]+)`)
	signed = regexp.MustCompile(`^ -- .*>  (.*)$`)
)

// releases reads a changelog's entries since a day.
func releases(src string, text []byte, since time.Time) (all []layersim.Release) {
	var r layersim.Release
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if m := entry.FindStringSubmatch(lines.Text()); m != nil {
			r = layersim.Release{Source: src, Version: m[1], Suite: m[2]}
		}
		m := signed.FindStringSubmatch(lines.Text())
		if m == nil || r.Version == "" {
			continue
		}
		when, err := time.Parse("Mon, 2 Jan 2006 15:04:05 -0700", m[1])
		if err == nil && !when.Before(since) {
			r.Day = when.UTC().Format(time.DateOnly)
			all = append(all, r)
		}
	}
	return all
}

func output(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", name, args[0], err)
	}
	return out, nil
}
