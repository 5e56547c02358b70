package git

import (
	"crypto/sha1"
	"fmt"
	"hash"
	"slices"
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
func NewBlob(size int64) hash.Hash { return newObject("blob", size) }

// BlobID is the id of the object of a short text, such as the target of a link.
func BlobID(text string) ObjectID {
	h := NewBlob(int64(len(text)))
	h.Write([]byte(text))
	return ObjectID(h.Sum(nil))
}

// TreeObjectID is the id of the tree with the entries, in whatever order they are.
// Git has no tree without any entry but the root of an empty repository.
func TreeObjectID(entries []Entry) ObjectID {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, compareEntries)
	var object []byte
	for _, e := range entries {
		object = append(object, e.Mode...)
		object = append(object, ' ')
		object = append(object, e.Name...)
		object = append(object, 0)
		object = append(object, e.ID[:]...)
	}
	h := newObject("tree", int64(len(object)))
	h.Write(object)
	return ObjectID(h.Sum(nil))
}

func newObject(kind string, size int64) hash.Hash {
	h := sha1.New()
	fmt.Fprintf(h, "%s %d\x00", kind, size)
	return h
}

// compareEntries orders by name, as if names of folders ended in "/".
func compareEntries(a, b Entry) int {
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
