package standin

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Commit is a commit of the upstream repository.
type Commit struct {
	Rev     string    // 40 hexadecimal digits
	Tree    string    // likewise
	Parents []string  // likewise
	Date    time.Time // of author and committer, UTC
	Subject string
	Author  string // a name of a person
	Email   string
	Login   string
	Change  string // what the commit did, in a word: old, shared, release-doc, …
}

// runGit runs git on a repository, free of the user's configuration.
func runGit(ctx context.Context, repo string, stdin []byte, args ...string) ([]byte, error) {
	c := command{
		name:  "git",
		args:  append([]string{"--git-dir", repo}, args...),
		stdin: stdin,
		env: []string{
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=/nonexistent",
			"TZ=UTC",
		},
	}
	return c.run(ctx)
}

// commitAll makes a repository of all changes and returns their commits by name.
func commitAll(ctx context.Context, repo string, trees map[string]tree) (map[string]Commit, error) {
	if _, err := runGit(ctx, repo, nil, "init", "--quiet", "--bare", "--initial-branch=master", repo); err != nil {
		return nil, err
	}
	marks := filepath.Join(repo, "marks")
	if _, err := runGit(ctx, repo, importStream(trees), "fast-import", "--quiet", "--export-marks="+marks); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(marks)
	if err != nil {
		return nil, err
	}
	revs := map[string]string{} // mark -> revision
	for line := range strings.Lines(string(data)) {
		mark, rev, _ := strings.Cut(strings.TrimSpace(line), " ")
		revs[strings.TrimPrefix(mark, ":")] = rev
	}
	commits := map[string]Commit{}
	for i, c := range changes {
		commit := Commit{
			Rev: revs[fmt.Sprint(i+1)], Date: c.date, Subject: c.subject,
			Author: c.author.name, Email: c.author.email, Login: c.author.login, Change: c.name,
		}
		out, err := runGit(ctx, repo, nil, "rev-parse", "--verify", commit.Rev+"^{tree}")
		if err != nil {
			return nil, err
		}
		commit.Tree = strings.TrimSpace(string(out))
		if c.parent != "" {
			commit.Parents = []string{commits[c.parent].Rev}
		}
		commits[c.name] = commit
	}
	return commits, nil
}

// importStream is the input of git fast-import that makes a commit of each change,
// marked with its number in changes, and a branch of the same name.
func importStream(trees map[string]tree) []byte {
	var b bytes.Buffer
	data := func(d []byte) { fmt.Fprintf(&b, "data %d\n%s\n", len(d), d) }
	marks := map[string]int{}
	for i, c := range changes {
		marks[c.name] = i + 1
		when := fmt.Sprintf("%d +0000", c.date.Unix())
		fmt.Fprintf(&b, "commit refs/heads/%s\nmark :%d\n", c.name, i+1)
		fmt.Fprintf(&b, "author %s <%s> %s\n", c.author.name, c.author.email, when)
		fmt.Fprintf(&b, "committer GitHub <noreply@github.com> %s\n", when)
		data([]byte(c.subject + "\n"))
		if c.parent != "" {
			fmt.Fprintf(&b, "from :%d\n", marks[c.parent])
		}
		b.WriteString("deleteall\n")
		t := trees[c.name]
		for _, path := range slices.Sorted(maps.Keys(t)) {
			fmt.Fprintf(&b, "M %s inline %s\n", t[path].mode, quotePath(path))
			data(t[path].data)
		}
	}
	return b.Bytes()
}

// quotePath writes a path as fast-import reads any: in quotes, what is not plain as octal.
func quotePath(path string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(path) {
		switch c := path[i]; {
		case c < ' ' || c > '~' || c == '"' || c == '\\':
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// archiveAll writes <dir>/<rev>.tar.gz for every commit, named inside as GitHub does.
func archiveAll(ctx context.Context, repo, dir string, commits map[string]Commit) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, c := range commits {
		g.Go(func() error {
			_, err := runGit(ctx, repo, nil, "archive", "--format=tar.gz",
				"--prefix="+RepositoryName+"-"+c.Rev+"/", "--output="+filepath.Join(dir, c.Rev+".tar.gz"), c.Rev)
			return err
		})
	}
	return g.Wait()
}
