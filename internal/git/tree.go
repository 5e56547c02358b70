package git

import (
	"crypto/sha1"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// Mode is what kind of thing an entry of a tree is, as git writes it.
type Mode string

const (
	File       Mode = "100644"
	Executable Mode = "100755"
	Link       Mode = "120000"
	Folder     Mode = "40000"
)

// ObjectID is the SHA-1 of an object.
type ObjectID = [sha1.Size]byte

// Entry is an entry of a tree.
type Entry struct {
	Name string // raw bytes
	Mode Mode
	ID   ObjectID
}

// NewBlob returns the hash of a file's object, to which size bytes are to be written.
func NewBlob(size int64) hash.Hash {
	h := sha1.New()
	BeginBlob(h, size)
	return h
}

// BeginBlob has a hash that NewBlob returned begin with another file.
func BeginBlob(h hash.Hash, size int64) {
	h.Reset()
	h.Write(appendHeader(make([]byte, 0, 32), "blob", size))
}

// BlobID is the id of the object of a short text, such as the target of a link.
func BlobID(text string) ObjectID {
	return sha1.Sum(append(appendHeader(nil, "blob", int64(len(text))), text...))
}

// TreeObjectID is the id of the tree with the entries, in whatever order they are.
// Git has no tree without any entry but the root of an empty repository.
func TreeObjectID(entries []Entry) ObjectID {
	if !slices.IsSortedFunc(entries, CompareEntries) {
		entries = slices.Clone(entries)
		slices.SortFunc(entries, CompareEntries)
	}
	var size int
	for _, e := range entries {
		size += len(e.Mode) + len(" ") + len(e.Name) + len("\x00") + len(e.ID)
	}
	object := appendHeader(make([]byte, 0, size+32), "tree", int64(size))
	for _, e := range entries {
		object = append(object, e.Mode...)
		object = append(object, ' ')
		object = append(object, e.Name...)
		object = append(object, 0)
		object = append(object, e.ID[:]...)
	}
	return sha1.Sum(object)
}

// appendHeader adds what an object begins with, of size bytes.
func appendHeader(object []byte, kind string, size int64) []byte {
	object = append(append(object, kind...), ' ')
	return append(strconv.AppendInt(object, size, 10), 0)
}

// CompareEntries is the order of entries in trees and in archives of git: by name, as if names of folders ended in "/".
func CompareEntries(a, b Entry) int {
	common := min(len(a.Name), len(b.Name))
	if c := strings.Compare(a.Name[:common], b.Name[:common]); c != 0 {
		return c
	}
	return int(a.byteAt(common)) - int(b.byteAt(common))
}

// byteAt is the byte at position i of a name as git sorts it, 0 at its end.
func (e Entry) byteAt(i int) byte {
	switch {
	case i < len(e.Name):
		return e.Name[i]
	case e.Mode == Folder:
		return '/'
	}
	return 0
}
