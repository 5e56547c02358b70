package pin

import (
	"fmt"
	"slices"
	"strconv"
)

// Formats of flake.lock that are the same in all that is read here.
const (
	oldestLock = 5
	newestLock = 7
)

// flakeLock reads a flake's lock file. Only the flake's own inputs are its to
// change: what another flake was locked with is that flake's matter.
func flakeLock(text []byte, _ Options) ([]Spot, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	version, nodes := root.get("version"), root.get("nodes")
	if version == nil || nodes == nil {
		return nil, fmt.Errorf("no version or no nodes: this is no lock file of a flake")
	}
	if format, err := strconv.Atoi(version.text); err != nil || format < oldestLock || format > newestLock {
		return nil, fmt.Errorf("lock file format %.20q is not known (want %d to %d)", version.text, oldestLock, newestLock)
	}
	own := ownInputs(*nodes, root.str("root"))
	var spots []Spot
	for _, node := range nodes.members {
		locked, original := node.get("locked"), node.get("original")
		if locked == nil || original == nil {
			continue
		}
		spot, found := lockedSpot(*locked, *original)
		if !found {
			continue
		}
		spot.Line, spot.What = node.line(), "flake.lock "+node.name
		if !slices.Contains(own, node.name) {
			spot.Left = otherFlake
		}
		spots = append(spots, spot)
	}
	return spots, nil
}

// ownInputs are the nodes that the flake itself names. Where it follows an input
// of another flake, that is a list and not one of them.
func ownInputs(nodes value, root string) []string {
	var own []string
	if node := nodes.get(root); node != nil {
		if inputs := node.get("inputs"); inputs != nil {
			for _, m := range inputs.members {
				if m.isString {
					own = append(own, m.text)
				}
			}
		}
	}
	return own
}

func lockedSpot(locked, original value) (Spot, bool) {
	var s set
	url := locked.str("url")
	_, _, archive := archiveRev(url)
	switch {
	case locked.str("type") == "github" && isNixpkgs(locked.str("owner"), locked.str("repo")):
		if host := locked.str("host"); host != "" && host != "github.com" {
			return Spot{}, false
		}
	case archive:
		s.take(locked, "url", s.url)
	case releasePattern.MatchString(url), gitPattern.MatchString(url):
		s.leave("it is locked by " + locked.str("type") + ", and not the archive of a commit")
	default:
		return Spot{}, false
	}
	if original.get("rev") != nil {
		s.leave("flake.nix names the commit")
	}
	if _, _, named := archiveRev(original.str("url")); named {
		s.leave("flake.nix names the archive")
	}
	if locked.get("revCount") != nil {
		s.leave("it has a revCount, which images do not know")
	}
	s.take(locked, "rev", s.rev)
	s.take(locked, "narHash", func(t traced) { s.hash(t, sri) })
	if locked.get("narHash") == nil {
		s.leave("it has no narHash")
	}
	if m := locked.get("lastModified"); m != nil && !m.isString {
		s.part(kindModified, trace(m.file, m.start, m.end), 0, m.end-m.start)
	}
	if original.get("ref") != nil {
		s.spot.Note = "name the channel in flake.nix, too, or Nix locks it anew"
	}
	s.take(original, "ref", s.branch)
	return s.done(), true
}
