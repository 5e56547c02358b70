package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

func TestImages(t *testing.T) {
	c, err := Parse("c.yaml", []byte(`
images:
  - folder: images/base
  - { folder: images/slim, suffix: -slim }
  - { folder: x/attic-server, repository: tools/attic-server, channels: [ b ], tags: [ latest, "{version}", "{digest:12}" ] }
channels: [ { name: a, tags: [ latest ] }, { name: b } ]
`))
	if err != nil {
		t.Fatal(err)
	}
	values := TagValues{Rev: gittest.Rev("c"), Date: time.Unix(0, 0), Version: "0.1.0", Digest: strings.Repeat("d", 64)}
	var got []string
	for _, ch := range c.Channels {
		for _, i := range c.ImagesOf(ch) {
			tags := i.TagsOf(ch)
			got = append(got, ch.Name+" "+i.Name()+" "+i.RepositoryOf(ch.Name)+" "+tags.Fixed()+": "+strings.Join(tags.For(values), " "))
		}
	}
	want := []string{
		"a base nixpkgs-a latest: latest",
		"a slim nixpkgs-a latest-slim: latest-slim",
		"b base nixpkgs-b : ",
		"b slim nixpkgs-b : ",
		"b attic-server tools/attic-server latest: latest 0.1.0 dddddddddddd",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
	tags := c.Images[2].TagsOf(c.Channels[1])
	if diff := cmp.Diff([]string{"{version}", "{digest:12}"}, tags.Unknown(TagValues{Rev: values.Rev, Date: values.Date})); diff != "" {
		t.Errorf("Unknown (-want +got):\n%s", diff)
	}
	if got := c.Images[1].TagsOf(c.Channels[0]).Commit(values.Rev.String()); got != values.Rev.String()+"-slim" {
		t.Errorf("Commit = %q", got)
	}
}

func TestImageErrors(t *testing.T) {
	const channels = "\nchannels: [ { name: a, tags: [ latest ] }, { name: b, tags: [ latest ] } ]\n"
	long := strings.Repeat("x", 100)
	tests := []struct {
		name, images string
		want         []string
	}{
		{"no folder", "[ { suffix: x } ]", []string{`1:11: images[0].folder: missing (want a path)`}},
		{"none", "[]", []string{`1:9: images: no images (want a list of images, such as [ { folder: images/base } ])`}},
		{"the old key's value", "images/base", []string{`1:9: images: found the text "images/base" (want a list of images, such as [ { folder: images/base } ])`}},
		{"many", "[" + strings.Repeat(" { folder: x },", 33) + " ]", []string{`1:9: images: found 33 images (want at most 32)`}},
		{"two of one name", "[ { folder: x/base }, { folder: y/base, suffix: -y } ]", []string{`1:41: images[1].folder: duplicate image "y/base", first on line 1`}},
		{"a folder that gives no name", "[ { folder: Images } ]", []string{`1:21: images[0].folder: bad folder: the image would be called "Images" (want a folder whose name is of a-z, 0-9 and single . _ - between them)`}},
		{"a channel that is not there", "[ { folder: x, channels: [ a, c ] } ]", []string{`1:39: images[0].channels[1]: "c" is not one of the channels (want a or b)`}},
		{"bad texts", "[ { folder: x, repository: Nix, suffix: a/b, tags: [ \"{digest:6}\" ] } ]", []string{
			`1:36: images[0].repository: bad repository "Nix": "Nix" has capital letters, which registries refuse (want ` + wantRepository + `)`,
			`1:49: images[0].suffix: bad suffix "a/b" (want ` + wantSuffix + `)`,
			`1:62: images[0].tags[0]: bad tag "{digest:6}": bad placeholder "{digest:6}" (want {digest:7} to {digest:64})`,
		}},
		{"an unknown placeholder in a repository", "[ { folder: x, repository: \"x-{rev}\" } ]", []string{
			`1:36: images[0].repository: bad repository "x-{rev}": unknown placeholder "{rev}" (want ` + wantRepository + `)`}},
		{"a long repository", "[ { folder: x, repository: " + long + "/" + long + " } ]", []string{
			`1:11: images[0]: the repository ` + long[:40] + `… is longer than 134 characters`}},
		{"one repository", "\n- folder: x\n- folder: y", []string{`3:3: images[1]: it would have the tag nixpkgs-a:{rev}, as the image on line 2 (want another suffix or repository)`}},
		{"one repository for two channels", "[ { folder: x, repository: y } ]", []string{
			`1:11: images[0]: its images of a and b would have the same tag y:{rev} (want {channel} in its repository, or one of its channels)`}},
		{"a tag like another with its suffix", "\n- { folder: x, tags: [ latest-y ] }\n- { folder: y, suffix: -y }", []string{
			`3:3: images[1]: it would have the tag nixpkgs-a:latest-y, as the image on line 2 (want another suffix or repository)`}},
		{"a tag that a template may give", "\n- { folder: x, tags: [ 20260531-y ] }\n- { folder: y, suffix: -y, tags: [ \"{date}\" ] }", []string{
			`3:3: images[1]: it would have the tag nixpkgs-a:{date}-y, as the image on line 2 (want another suffix or repository)`}},
		{"a template like the commit's tag of another", "\n- { folder: x, tags: [ \"{rev}-y\" ] }\n- { folder: y, suffix: -y }", []string{
			`3:3: images[1]: it would have the tag nixpkgs-a:{rev}-y, as the image on line 2 (want another suffix or repository)`}},
		{"a tag too long with its suffix", "[ { folder: x, suffix: -y, tags: [ " + strings.Repeat("x", 127) + " ] } ]", []string{
			`1:11: images[0]: with its suffix: bad tag "` + strings.Repeat("x", 127) + `-y" (want ` + tag.want + `)`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("c.yaml", []byte("images: "+tt.images+channels))
			if err == nil {
				t.Fatal("no error")
			}
			var got []string
			for line := range strings.SplitSeq(err.Error(), "\n") {
				got = append(got, strings.TrimPrefix(line, "c.yaml:"))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}
