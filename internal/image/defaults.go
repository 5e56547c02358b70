package image

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/layers"
)

// defaults returns what an image has unless it has something else there: folders
// for what programs take for granted, volumes that its user can write to, and the
// names of its users.
func (r Root) defaults(had []layers.File) []layers.File {
	uid, gid := ids(r.Set.User)
	wanted := []layers.File{
		{Path: "/tmp", Dir: true, Mode: 0o1777},
		{Path: "/root", Dir: true, Mode: 0o700},
		{Path: "/etc/passwd", Mode: 0o644, Data: []byte(r.passwd(uid, gid))},
		{Path: "/etc/group", Mode: 0o644, Data: []byte(group(gid))},
	}
	for _, dir := range r.Set.Volumes {
		wanted = append(wanted, layers.File{Path: dir, Dir: true, Mode: 0o755, UID: uid, GID: gid})
	}
	return slices.DeleteFunc(wanted, func(f layers.File) bool {
		return slices.ContainsFunc(had, func(h layers.File) bool { return h.Path == f.Path || !h.Dir && isBelow(f.Path, h.Path) })
	})
}

func isBelow(name, dir string) bool { return strings.HasPrefix(name, dir+"/") }

// ids takes the numbers of an image's user apart. Engines take 0 for a group that
// is not said.
func ids(user string) (uid, gid int) {
	first, second, _ := strings.Cut(user, ":")
	uid, _ = strconv.Atoi(first) // checked when it was read
	gid, _ = strconv.Atoi(second)
	return uid, gid
}

const nobody = 65534

func (r Root) passwd(uid, gid int) string {
	text := "root:x:0:0:root:/root:/bin/sh\n"
	if uid != 0 && uid != nobody {
		home := path.Clean(cmp.Or(r.Set.WorkDir, "/"))
		text += fmt.Sprintf("user:x:%d:%d:user:%s:/bin/false\n", uid, gid, home)
	}
	return text + "nobody:x:65534:65534:nobody:/var/empty:/bin/false\n"
}

func group(gid int) string {
	text := "root:x:0:\n"
	if gid != 0 && gid != nobody {
		text += fmt.Sprintf("user:x:%d:\n", gid)
	}
	return text + "nogroup:x:65534:\n"
}
