package debian

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A database is what dpkg knows of the installed packages.
type database struct {
	versions map[string]string   // package -> Debian version, installed ones only
	files    map[string][]string // package -> its paths
	owners   map[string]string   // path, normalized -> package
}

func openDatabase(dir string) (*database, error) {
	db := &database{versions: map[string]string{}, files: map[string][]string{}, owners: map[string]string{}}
	if err := db.readStatus(filepath.Join(dir, "status")); err != nil {
		return nil, err
	}
	lists, err := filepath.Glob(filepath.Join(dir, "info", "*.list"))
	if err != nil {
		return nil, err
	}
	for _, list := range lists {
		if err := db.readList(list); err != nil {
			return nil, err
		}
	}
	return db, nil
}

// readStatus reads the stanzas of /var/lib/dpkg/status, see deb822(5).
func (db *database) readStatus(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return noDebian(err)
	}
	defer f.Close()
	name, installed := "", false
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		key, value, _ := strings.Cut(s.Text(), ": ")
		switch key {
		case "Package":
			name, installed = value, false
		case "Status":
			installed = strings.HasSuffix(value, " installed")
		case "Version":
			if installed {
				db.versions[name] = value
			}
		}
	}
	return s.Err()
}

func (db *database) readList(file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(file), ".list")
	name, _, _ = strings.Cut(name, ":") // "libc6:amd64"
	paths := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	db.files[name] = paths
	for _, p := range paths {
		if n := normalize(p); db.owners[n] == "" {
			db.owners[n] = name
		}
	}
	return nil
}

// missing returns those of the packages that are not installed.
func (db *database) missing(names []string) []string {
	var missing []string
	for _, n := range names {
		if db.versions[n] == "" && !slices.Contains(missing, n) {
			missing = append(missing, n)
		}
	}
	return missing
}

// owner returns the package that a file, or the file behind a link, belongs to.
func (db *database) owner(path string) (string, error) {
	if o := db.owners[normalize(path)]; o != "" {
		return o, nil
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", err
	}
	if o := db.owners[normalize(real)]; o != "" {
		return o, nil
	}
	return "", fmt.Errorf("%s: belongs to no Debian package", path)
}

var (
	repackaging = regexp.MustCompile(`([+~]|\.dfsg).*`)
	merged      = []string{"/usr/lib/", "/usr/lib64/", "/usr/bin/", "/usr/sbin/"}
)

// version returns the upstream part of a package's version,
// "1.34" of "1:1.34+dfsg-1.2+deb12u1".
func (db *database) version(pkg string) string {
	v := db.versions[pkg]
	if _, after, ok := strings.Cut(v, ":"); ok {
		v = after
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		v = v[:i]
	}
	return repackaging.ReplaceAllString(v, "")
}

// normalize gives a path the one name it has however /usr was merged.
func normalize(path string) string {
	for _, m := range merged {
		if strings.HasPrefix(path, m) {
			return strings.TrimPrefix(path, "/usr")
		}
	}
	return path
}
