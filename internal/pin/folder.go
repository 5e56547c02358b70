package pin

import (
	"cmp"
	"slices"
)

// File is a file of a folder, with what was found in it.
type File struct {
	Name  string
	Text  []byte
	Spots []Spot
	Err   error // why the file was not read; it has no spots then
}

// Channels are those that the images in files follow that can be changed, in the
// order in which they are named.
func Channels(files []File) []string {
	return followed(files, func(s Spot) bool { return s.IsImage() })
}

func followed(files []File, count func(Spot) bool) []string {
	var names []string
	for _, f := range files {
		for _, s := range f.Spots {
			if s.Left == "" && s.Channel != "" && count(s) && !slices.Contains(names, s.Channel) {
				names = append(names, s.Channel)
			}
		}
	}
	return names
}

// LeaveOthers leaves alone what follows another branch than the target's: a
// project may have a second nixpkgs on purpose. When it moves to the target's
// channel, what the images follow goes along or, where there are no images, what
// all pins follow. A pin that names the commit of such an image goes along, too,
// whatever branch it was made from.
func LeaveOthers(files []File, target string, moves bool) []File {
	along := []string{target}
	if moves {
		along = append(along, Channels(files)...)
		if all := followed(files, func(Spot) bool { return true }); len(all) == 1 {
			along = append(along, all[0])
		}
	}
	inStep := map[string]bool{}
	for _, f := range files {
		for _, s := range f.Spots {
			if s.Left == "" && s.IsImage() && s.Rev != "" && slices.Contains(along, s.Channel) {
				inStep[s.Rev] = true
			}
		}
	}
	out := slices.Clone(files)
	for i, f := range out {
		out[i].Spots = slices.Clone(f.Spots)
		for j, s := range f.Spots {
			goesAlong := s.Channel == "" || slices.Contains(along, s.Channel) || inStep[s.Rev] && !s.IsImage()
			if s.Left == "" && !goesAlong {
				out[i].Spots[j].Left = "it follows " + s.Channel
			}
		}
	}
	return out
}

// FirstRev is the commit that is named first, by an image if there is one.
func FirstRev(files []File) string {
	images, pins := "", ""
	for _, f := range files {
		for _, s := range f.Spots {
			switch {
			case s.Left != "" || s.Rev == "":
			case s.IsImage():
				images = cmp.Or(images, s.Rev)
			default:
				pins = cmp.Or(pins, s.Rev)
			}
		}
	}
	return cmp.Or(images, pins)
}

// Pinned is a file as it is to be.
type Pinned struct {
	File
	New []byte

	// Differs has the spots of the file that name something else than the target.
	Differs []bool
}

// Pin makes all files name the target. What cannot be written to two ends is left
// alone.
func Pin(files []File, t Target) ([]Pinned, error) {
	pinned := make([]Pinned, len(files))
	for i, f := range files {
		f.Spots = slices.Clone(f.Spots)
		p := Pinned{File: f, New: f.Text, Differs: make([]bool, len(f.Spots))}
		var all []Edit
		for j, s := range f.Spots {
			edits, err := s.Edits(t)
			if err != nil {
				return nil, err
			}
			together := append(slices.Clone(all), edits...)
			text, err := Apply(f.Text, together)
			if err != nil {
				p.Spots[j].Left = err.Error()
				continue
			}
			all, p.New, p.Differs[j] = together, text, len(edits) > 0
		}
		pinned[i] = p
	}
	return pinned, nil
}
