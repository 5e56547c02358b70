package source

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestRejectedMembers(t *testing.T) {
	deep := strings.Repeat("d/", maxDepth)
	tests := []struct {
		name    string
		members []member
		want    string // the error, without the name of the archive
	}{
		{"dotdot at the start", []member{regular("../x", "")}, `member "../x": name contains ".."`},
		{"dotdot inside", []member{dir("t/"), regular("t/a/../../x", "")}, `member "t/a/../../x": name contains ".."`},
		{"dotdot at the end", []member{dir("t/.."), regular("t/x", "")}, `member "t/..": name contains ".."`},
		{"absolute", []member{dir("t/"), regular("/etc/passwd", "")}, `member "/etc/passwd": name is absolute`},
		{"root", []member{dir("/")}, `member "/": name is absolute`},
		{"empty name", []member{dir("t/"), regular("", "")}, `member "": name is empty`},
		{"file named dot", []member{dir("t/"), regular(".", "")}, `member ".": has the name of a directory, and is not one`},
		{"link with the name of a directory", []member{symlink("t/x/", "y")}, `member "t/x/": has the name of a directory, and is not one`},
		{"below a link out", []member{dir("t/"), symlink("t/l", "/tmp"), regular("t/l/x", "")}, `member "t/l/x": lies below "t/l", which is a symbolic link`},
		{"below a link within", []member{dir("t/d/"), symlink("t/l", "d"), dir("t/l/x/")}, `member "t/l/x/": lies below "t/l", which is a symbolic link`},
		{"below the top-level link", []member{symlink("t", "/"), regular("t/x", "")}, `member "t/x": lies below "t", which is a symbolic link`},
		{"below a file", []member{regular("t/f", ""), regular("t/f/x", "")}, `member "t/f/x": lies below "t/f", which is a regular file`},
		{"below a hard link to come", []member{hardlink("t/l", "t/f"), regular("t/l/x", ""), regular("t/f", "")}, `member "t/l/x": lies below "t/l", which is a hard link`},
		{"file in place of a full directory", []member{regular("t/d/x", ""), regular("t/d", "")}, `member "t/d": has the name of a directory that is not empty`},
		{"device", []member{{kind: tar.TypeChar, name: "t/null"}}, `member "t/null": neither file, directory nor link (type '3')`},
		{"block device", []member{{kind: tar.TypeBlock, name: "t/sda"}}, `member "t/sda": neither file, directory nor link (type '4')`},
		{"fifo", []member{{kind: tar.TypeFifo, name: "t/fifo"}}, `member "t/fifo": neither file, directory nor link (type '6')`},
		{"empty link target", []member{symlink("t/l", "")}, `member "t/l": link target of 0 bytes (want 1 to 4095)`},
		{"long link target", []member{symlink("t/l", strings.Repeat("x", 4096))}, `member "t/l": link target of 4096 bytes (want 1 to 4095)`},
		{"long name", []member{regular("t/"+strings.Repeat("n", 256), "")}, fmt.Sprintf(`member "t/%s…": name of 256 bytes is longer than 255`, strings.Repeat("n", 118))},
		{"deep", []member{regular("t/"+deep+"f", "")}, fmt.Sprintf(`member "%s…": 64 directories deep, more than 63`, ("t/" + deep + "f")[:120])},
		{"hard link to nothing", []member{dir("t/"), hardlink("t/l", "t/f")}, `member "t/l": hard link to "t/f", which is not in the archive`},
		{"hard link without the top level", []member{regular("t/f", ""), hardlink("t/l", "f")}, `member "t/l": hard link to "f", which is not in the archive`},
		{"hard link to a directory", []member{dir("t/d/"), hardlink("t/l", "t/d")}, `member "t/l": hard link to "t/d", which is a directory`},
		{"hard link to a directory to come", []member{hardlink("t/l", "t/d"), dir("t/d/")}, `member "t/l": hard link to "t/d", which is a directory`},
		{"hard link out", []member{dir("t/"), hardlink("t/l", "../etc/passwd")}, `member "t/l": hard link to "../etc/passwd": name contains ".."`},
		{"absolute hard link", []member{dir("t/"), hardlink("t/l", "/etc/passwd")}, `member "t/l": hard link to "/etc/passwd": name is absolute`},
		{"hard link through a link", []member{regular("t/d/f", ""), symlink("t/s", "d"), hardlink("t/l", "t/s/f")}, `member "t/l": hard link to "t/s/f", which is not in the archive`},
		{"hard link to itself", []member{dir("t/"), hardlink("t/l", "t/l")}, `member "t/l": hard link to "t/l" leads back to itself`},
		{"circle of hard links", []member{hardlink("t/a", "t/b"), hardlink("t/b", "t/c"), hardlink("t/c", "t/a")}, `member "t/a": hard link to "t/b" leads back to itself`},
		{"two top-level entries", []member{dir("b/"), dir("a/"), dir("c/")}, `archive has 3 top-level entries, beginning with "a" and "b" (want one)`},
		{"no member", nil, "archive is empty"},
		{"no member but the folder itself", []member{dir("./")}, "archive is empty"},
		{"global header only", orders[:1], "archive is empty"},
		{"global path", []member{global(map[string]string{"path": "t/elsewhere"}), regular("t/x", "")}, `member "t/elsewhere": global header sets "path" for all members`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expectError(t, zip(t, tarOf(t, tt.members...)), Limits{}, tt.want)
		})
	}
}

func TestRejectedStreams(t *testing.T) {
	plain := tarOf(t, orders...)
	zipped := zip(t, plain)
	tests := []struct {
		name    string
		archive []byte
		want    string
	}{
		{"not gzip", plain, "gzip: wrong header"},
		{"nothing", nil, "gzip: archive is truncated: unexpected EOF"},
		{"empty gzip", zip(t, nil), `at the start: archive is truncated: no end-of-archive marker: unexpected EOF`},
		{"not tar", zip(t, bytes.Repeat([]byte("x"), 4096)), `at the start: archive/tar: invalid tar header`},
		{"data after the gzip stream", append(bytes.Clone(zipped), "<html>"...), "gzip: data after the end of the archive"},
		{"one byte after the gzip stream", append(bytes.Clone(zipped), 0), "gzip: data after the end of the archive"},
		{"half a gzip stream after the first", append(bytes.Clone(zipped), zipped[:20]...), "gzip: archive is truncated: unexpected EOF"},
		{"data after the archive", zip(t, append(bytes.Clone(plain), "more"...)), "data after the end of the archive"},
		{"another archive after the archive", zip(t, append(bytes.Clone(plain), plain...)), "data after the end of the archive"},
		{"no end-of-archive marker", zip(t, plain[:len(plain)-1024]), `after member "repo-x/x.sh": archive is truncated: no end-of-archive marker: unexpected EOF`},
		{"half an end-of-archive marker", zip(t, plain[:len(plain)-512]), `after member "repo-x/x.sh": archive is truncated: no end-of-archive marker: unexpected EOF`},
		{"cut in a member", zip(t, plain[:len(plain)-1024-512]), `member "repo-x/x.sh": archive is truncated: unexpected EOF`},
		{"wrong checksum", append(bytes.Clone(zipped[:len(zipped)-8]), make([]byte, 8)...), "gzip: wrong checksum"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			expectError(t, tt.archive, Limits{}, tt.want)
		})
	}
}

func TestLimits(t *testing.T) {
	plain := tarOf(t, orders...) // 10 members
	small, size := zip(t, plain), int64(len(plain))
	links := []member{regular("t/a", strings.Repeat("x", 10_000))}
	for i := range 20 {
		links = append(links, hardlink(fmt.Sprintf("t/l%d", i), "t/a"))
	}
	sparse := tarOf(t, regular("t/a", ""))
	tests := []struct {
		name    string
		archive []byte
		limits  Limits
		want    string // "" if within the limits
	}{
		{"all that is needed", small, Limits{Archive: int64(len(small)), Unpacked: size, Files: 10}, ""},
		{"compressed", small, Limits{Archive: int64(len(small)) - 1}, fmt.Sprintf("archive is larger than %d bytes", len(small)-1)},
		{"unpacked", small, Limits{Unpacked: size - 1}, fmt.Sprintf("unpacked archive is larger than %d bytes", size-1)},
		{"members", small, Limits{Files: 9}, `member "repo-x/x.sh": archive has more than 9 entries`},
		{"implied directories", zip(t, tarOf(t, regular("a/b/c/d/e", ""))), Limits{Files: 4}, `member "a/b/c/d/e": archive has more than 4 entries`},
		{"contents multiplied by hard links", zip(t, tarOf(t, links...)), Limits{Unpacked: 100_000}, "NAR is larger than 100000 bytes"},
		{"announced size", zip(t, tarOf(t, regular("t/a", strings.Repeat("x", 400_000)))), Limits{Unpacked: 300_000}, `member "t/a": size 400000 exceeds the limit of 300000 bytes for all files`},
		{"bomb of zeros after the archive", zip(t, append(sparse, make([]byte, 1<<24)...)), Limits{Unpacked: 1 << 20}, "unpacked archive is larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.want != "" {
				expectError(t, tt.archive, tt.limits, tt.want)
				return
			}
			tree, err := Read(t.Context(), bytes.NewReader(tt.archive), Options{Dir: t.TempDir(), Limits: tt.limits})
			if err != nil {
				t.Fatal(err)
			}
			tree.Close()
		})
	}
}

// A sparse file may announce any size in a few bytes.
func TestSparseBomb(t *testing.T) {
	records := paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") +
		paxRecord("GNU.sparse.realsize", "1099511627776") + paxRecord("GNU.sparse.name", "t/a")
	extended := tarOf(t, regular("pax", records))[:1024]
	extended[156] = tar.TypeXHeader
	fixChecksum(extended)
	holes := "1\n1099511627776\n0\n"
	file := tarOf(t, regular("t/a", holes+strings.Repeat("\x00", 512-len(holes))))
	expectError(t, zip(t, append(extended, file...)), Limits{}, `member "t/a": size 1099511627776 exceeds the limit of 4294967296 bytes for all files`)
}

// A regular file whose name ends in a slash is a directory in archives of old programs, unless it has contents.
func TestOldDirectory(t *testing.T) {
	old := func(data string) []byte {
		stream := tarOf(t, regular("t/x_", data), regular("t/y", ""))
		stream[3] = '/'
		fixChecksum(stream)
		return zip(t, stream)
	}
	if got, want := read(t, old("")).NarHash, read(t, zip(t, tarOf(t, dir("t/x/"), regular("t/y", "")))).NarHash; got != want {
		t.Errorf("NAR hash is %v, want %v", got, want)
	}
	expectError(t, old("data"), Limits{}, `member "t/x/": has the name of a directory, and is not one`)
}

func paxRecord(key, value string) string {
	record := " " + key + "=" + value + "\n"
	for n := len(record); ; n++ {
		if full := fmt.Sprint(n) + record; len(full) == n {
			return full
		}
	}
}

// Names are held in memory, so that their number and length count together.
func TestNamesLimit(t *testing.T) {
	var members []member
	target := strings.Repeat("x", 4000)
	for i := range maxNames/len(target) + 1 {
		members = append(members, symlink(fmt.Sprint("t/", i), target))
	}
	_, err := readTar(t.Context(), bytes.NewReader(tarOf(t, members...)), Options{Dir: t.TempDir(), Limits: Limits{}.withDefaults()})
	if want := fmt.Sprintf("names and link targets in the archive are longer than %d bytes together", maxNames); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestEndless(t *testing.T) {
	_, err := Read(t.Context(), newEndless(t, func() {}), Options{Name: "endless", Dir: t.TempDir(), Limits: Limits{Archive: 1 << 50, Unpacked: 1 << 25}})
	want := `endless: member "t/huge": size 1099511627776 exceeds the limit of 33554432 bytes for all files`
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

// expectError reads an archive that must be refused. want is the end of the error.
func expectError(t *testing.T, archive []byte, limits Limits, want string) {
	t.Helper()
	const name = "https://example.org/x.tar.gz"
	tree, err := Read(t.Context(), bytes.NewReader(archive), Options{Name: name, Dir: t.TempDir(), Limits: limits})
	if err == nil {
		tree.Close()
		t.Fatalf("accepted with NAR hash %v, want error %s", tree.NarHash, want)
	}
	if got := err.Error(); !strings.HasPrefix(got, name+": ") || !strings.HasSuffix(got, want) {
		t.Errorf("error is\n%s, want\n%s: %s", got, name, want)
	}
}

// fixChecksum makes the checksum of the first header of a tar stream right.
func fixChecksum(stream []byte) {
	copy(stream[148:156], "        ")
	sum := 0
	for _, c := range stream[:512] {
		sum += int(c)
	}
	copy(stream[148:156], fmt.Sprintf("%06o\x00 ", sum))
}
