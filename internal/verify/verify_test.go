package verify

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/nixpkgs-factory/factory/internal/config"
	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
	"github.com/nixpkgs-factory/factory/internal/heads"
	"github.com/nixpkgs-factory/factory/internal/image"
	"github.com/nixpkgs-factory/factory/internal/layers"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/nix/nar"
	"github.com/nixpkgs-factory/factory/internal/toolset"
)

func results(r Report, of Result) []string {
	names := []string{}
	for _, c := range r.Checks {
		if c.Result == of {
			names = append(names, c.Name)
		}
	}
	return names
}

func TestNothingWrong(t *testing.T) {
	all := []string{"index", "manifest", "labels", "layers", "files", "database", "contents", "closure", "gcroots", "links", "signatures", "source", "commit"}
	for _, tt := range []struct {
		name    string
		change  func(*sample, *Options)
		passed  []string
		not     []string
		onePart bool
	}{
		{"with nixpkgs", func(*sample, *Options) {}, all, []string{"root"}, false},
		{"GitHub not asked", func(_ *sample, o *Options) { o.Commits = nil }, all[:12], []string{"root", "commit"}, false},
		{"of one platform", func(*sample, *Options) {}, all[1:], []string{"index", "root"}, true},
		{"without nixpkgs and database", func(s *sample, _ *Options) { s.plain = true },
			[]string{"index", "manifest", "labels", "layers", "files", "database", "contents", "closure", "links"}, []string{"gcroots", "signatures", "root", "commit"}, false},
		{"without a database, signed in a cache", func(s *sample, o *Options) { s.plain, o.Infos = true, known(s.closure) },
			[]string{"index", "manifest", "labels", "layers", "files", "database", "contents", "closure", "links", "signatures"}, []string{"gcroots", "root", "commit"}, false},
		{"nixpkgs by another name", func(s *sample, _ *Options) {
			info, err := s.tree.PathInfo("nixpkgs")
			if err != nil {
				t.Fatal(err)
			}
			s.sources, s.database, s.roots = append(s.sources, info), append(s.database, info), append(s.roots, info.Path)
		}, all, []string{"root"}, false},
		{"with the root that Nix makes", func(s *sample, _ *Options) {
			s.edit[ofRoot] = with("nix/var/nix/gcroots/profiles", tar.TypeSymlink, func(e *entry) { e.Linkname, e.Mode = "/nix/var/nix/profiles", 0o777 })
		}, all, []string{"root"}, false},
		{"by the tag of the commit", func(_ *sample, o *Options) { o.Tag = gittest.Rev("a").String() + "-slim" },
			slices.Insert(slices.Clone(all), 1, "tag"), []string{"root"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good(t)
			o := s.options(t)
			tt.change(s, &o)
			target := Target{Index: s.index(t)}
			if tt.onePart {
				target = Target{Image: s.image(t)}
			}
			r, err := Image(t.Context(), target, o)
			if err != nil {
				t.Fatal(err)
			}
			if !r.Verified() || !slices.Equal(results(r, Passed), tt.passed) || !slices.Equal(results(r, Not), tt.not) {
				t.Errorf("passed %v, want %v; not checked %v, want %v\n%s", results(r, Passed), tt.passed, results(r, Not), tt.not, text(t, r))
			}
			if r.Bytes == 0 || r.Seconds <= 0 || r.Digest == (v1.Hash{}) {
				t.Errorf("Image() = %+v", r)
			}
		})
	}
}

// The layers of a sample.
const (
	ofLib = iota
	ofTool
	ofSource
	ofRoot
)

// relabel sets labels and annotations of an image.
func relabel(labels map[string]string) func(v1.Image) v1.Image {
	return func(img v1.Image) v1.Image {
		return mutate.Annotations(reconfigure(func(c *v1.ConfigFile) {
			for name, value := range labels {
				c.Config.Labels[name] = value
			}
		})(img), labels).(v1.Image)
	}
}

// reconfigure changes the configuration of an image.
func reconfigure(edit func(*v1.ConfigFile)) func(v1.Image) v1.Image {
	return func(img v1.Image) v1.Image {
		conf, err := img.ConfigFile()
		if err != nil {
			panic(err)
		}
		conf = conf.DeepCopy()
		edit(conf)
		changed, err := mutate.ConfigFile(img, conf)
		if err != nil {
			panic(err)
		}
		return changed
	}
}

// swapped has the bytes of one layer in the place of another's.
type swapped struct {
	v1.Image
	place int
	by    func(v1.Layer) v1.Layer
}

func (s swapped) Layers() ([]v1.Layer, error) {
	list, err := s.Image.Layers()
	if err == nil {
		list[s.place] = s.by(list[s.place])
	}
	return list, err
}

// Whatever is wrong with an image, the check that it is the business of says it.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(*sample, *Options)
		failed []string
		want   string
	}{
		{"a byte of a file", func(s *sample, _ *Options) {
			s.edit[ofLib] = change("libc.so.6", func(e *entry) { e.text = "Library" })
		}, []string{"contents"}, "-glibc-2.40: its files have the NAR hash"},
		{"a file is longer", func(s *sample, _ *Options) {
			s.edit[ofLib] = change("libc.so.6", func(e *entry) { e.text = strings.Repeat("x", 9000) })
		}, []string{"contents"}, "larger than"},
		{"an executable bit", func(s *sample, _ *Options) { s.edit[ofLib] = change("notes", func(e *entry) { e.Mode = 0o555 }) }, []string{"contents"}, "-glibc-2.40: its files have the NAR hash"},
		{"a mode that no store has", func(s *sample, _ *Options) { s.edit[ofTool] = change("bin/nix", func(e *entry) { e.Mode = 0o4555 }) }, []string{"contents"}, "mode 4555"},
		{"another owner", func(s *sample, _ *Options) { s.edit[ofTool] = change("bin/nix", func(e *entry) { e.Uid = 1000 }) }, []string{"files"}, "belongs to 1000:0"},
		{"another time", func(s *sample, _ *Options) {
			s.edit[ofRoot] = change("etc/passwd", func(e *entry) { e.ModTime = time.Unix(2, 0) })
		}, []string{"files"}, "etc/passwd"},
		{"a capability", func(s *sample, _ *Options) {
			s.edit[ofTool] = change("bin/nix", func(e *entry) {
				e.Format, e.PAXRecords = tar.FormatPAX, map[string]string{"SCHILY.xattr.security.capability": "x"}
			})
		}, []string{"layers", "contents", "links"}, "security.capability"},
		{"another link", func(s *sample, _ *Options) { s.edit[ofLib] = change("lib64", func(e *entry) { e.Linkname = "bin" }) }, []string{"contents"}, "-glibc-2.40: its files have the NAR hash"},
		{"a file more", func(s *sample, _ *Options) {
			s.edit[ofLib] = func(es []entry) []entry {
				return with(strings.TrimSuffix(es[2].Name, "/")+"/z", tar.TypeReg, nil)(es)
			}
		}, []string{"contents"}, "-glibc-2.40: its files have the NAR hash"},
		{"a file less", func(s *sample, _ *Options) { s.edit[ofLib] = without("/notes") }, []string{"contents"}, "-glibc-2.40: its files have the NAR hash"},
		{"files in another order", func(s *sample, _ *Options) {
			s.edit[ofLib] = func(es []entry) []entry { es[3], es[6] = es[6], es[3]; return es }
		}, []string{"contents"}, "not in order"},
		{"a store object less", func(s *sample, _ *Options) { s.edit[ofLib] = without("glibc") }, []string{"files", "database", "links"}, "has its files in 0 layers"},
		{"a store object more", func(s *sample, _ *Options) {
			s.edit[ofLib] = with("nix/store/"+strings.Repeat("a", 32)+"-more", tar.TypeReg, nil)
		}, []string{"files"}, "-more\" is in a layer, and no image knows it"},
		{"a store object twice", func(s *sample, _ *Options) { s.closure = append(s.closure, s.closure[0]) }, []string{"layers", "database"}, "in 2 layers"},
		{"something beside the store", func(s *sample, _ *Options) { s.edit[ofLib] = with("etc/ld.so.preload", tar.TypeReg, nil) }, []string{"files"}, "not in the store"},
		{"a deletion", func(s *sample, _ *Options) { s.edit[ofRoot] = with("nix/.wh.store", tar.TypeReg, nil) }, []string{"layers", "commit"}, "deletes files of the layers below"},
		{"a store object in the root file system", func(s *sample, _ *Options) { s.edit[ofRoot] = with("nix/store/x", tar.TypeReg, nil) }, []string{"layers", "commit"}, "in the layer with the root file system"},
		{"a way out", func(s *sample, _ *Options) { s.edit[ofRoot] = with("../etc/x", tar.TypeReg, nil) }, []string{"layers", "commit"}, "not a plain name"},
		{"an absolute name", func(s *sample, _ *Options) { s.edit[ofLib] = with("/etc/x", tar.TypeReg, nil) }, []string{"layers"}, "not a plain name"},
		{"an entry twice", func(s *sample, _ *Options) { s.edit[ofRoot] = with("etc/passwd", tar.TypeReg, nil) }, []string{"layers", "commit"}, "is there twice"},
		{"a file below a link", func(s *sample, _ *Options) { s.edit[ofRoot] = with("bin/sh/x", tar.TypeReg, nil) }, []string{"layers", "commit"}, "the folder above it is not there"},
		{"a device", func(s *sample, _ *Options) { s.edit[ofRoot] = with("dev/x", tar.TypeChar, nil) }, []string{"layers", "commit"}, "neither a file nor a folder nor a link"},
		{"a hard link out", func(s *sample, _ *Options) {
			s.edit[ofSource] = change("-source/default.nix", func(e *entry) { e.Linkname = "etc/passwd" })
		}, []string{"contents", "source", "commit"}, "a hard link to"},
		{"a hard link to another file", func(s *sample, _ *Options) {
			s.edit[ofSource] = change("-source/default.nix", func(e *entry) { e.Linkname = strings.Replace(e.Linkname, "default.nix", "lib.nix", 1) })
		}, []string{"contents", "source", "commit"}, "a hard link to"},
		{"a hard link less", func(s *sample, _ *Options) { s.edit[ofSource] = without("-source/default.nix") }, []string{"contents", "source", "commit"}, "not the same files"},
		{"a byte of nixpkgs", func(s *sample, _ *Options) {
			s.edit[ofSource] = change("src/default.nix", func(e *entry) { e.text = "26.06" })
		}, []string{"contents", "source", "commit"}, "the commit has"},
		{"a NAR hash in the database", func(s *sample, _ *Options) { s.database[0].NarHash[0] ^= 1 }, []string{"layers", "contents", "signatures"}, "signature does not match"},
		{"a size in the database", func(s *sample, _ *Options) { s.database[0].NarSize++ }, []string{"layers", "contents", "signatures"}, "its files have"},
		{"a reference in the database", func(s *sample, _ *Options) { s.database[0].References = []nix.StorePath{s.database[1].Path} }, []string{"signatures"}, "-glibc-2.40: no trusted signature"},
		{"a row more", func(s *sample, _ *Options) {
			more := s.object(t, "more", func(w *nar.Writer) { s.putFile(t, w, "", "x", false) })
			s.database, s.roots = append(s.database, more), append(s.roots, more.Path)
		}, []string{"layers", "database"}, "-more has its files in 0 layers"},
		{"not signed", func(s *sample, _ *Options) { s.database[1].Sigs = nil }, []string{"signatures"}, "-nix-2.31: not signed"},
		{"another key", func(_ *sample, o *Options) { o.Keys = nil }, []string{"signatures"}, "no key at all"},
		{"a bad content address", func(s *sample, _ *Options) { s.database[2].CA = s.database[2].CA[:len(s.database[2].CA)-1] + "1" }, []string{"signatures"}, "belongs to"},
		{"an object that only its content names", func(s *sample, _ *Options) {
			s.named(t, "nix-2.32", func(w *nar.Writer) { s.putFile(t, w, "", "evil", true) })
		}, []string{"signatures"}, "-nix-2.32: not signed"},
		{"nixpkgs that no commit is told of", func(s *sample, o *Options) {
			s.named(t, config.SourceName, func(w *nar.Writer) { s.putFile(t, w, "", "evil", true) })
			s.database, s.roots = slices.Concat(s.closure, s.database[len(s.database)-1:]), s.roots[:1]
			s.plain, o.Infos = true, known(s.closure[:2])
		}, []string{"signatures"}, "-nixpkgs-src: not found"},
		{"the tag of another commit", func(_ *sample, o *Options) { o.Tag = gittest.Rev("b").String() }, []string{"tag"}, "the tag names the commit bbbb"},
		{"the tag of a commit, and no nixpkgs", func(s *sample, o *Options) { s.plain, o.Tag = true, gittest.Rev("a").String()+"-slim" }, []string{"tag"}, "the image none"},
		{"a log beside the database", func(s *sample, _ *Options) { s.edit[ofRoot] = with("nix/var/nix/db/db.sqlite-wal", tar.TypeReg, nil) }, []string{"database"}, "db.sqlite-wal is nothing"},
		{"a link beside the database", func(s *sample, _ *Options) {
			s.edit[ofRoot] = with("nix/var/nix/db/db.sqlite-journal", tar.TypeSymlink, func(e *entry) { e.Linkname, e.Mode = "/tmp/x", 0o777 })
		}, []string{"database"}, "db.sqlite-journal leads elsewhere"},
		{"another schema", func(s *sample, _ *Options) { s.edit[ofRoot] = change("db/schema", func(e *entry) { e.text = "5" }) }, []string{"database"}, `schema says "5"`},
		{"a database elsewhere", func(s *sample, o *Options) {
			o.Infos = known(s.database)
			s.edit[ofRoot] = func(es []entry) []entry {
				list, err := json.Marshal(image.Objects(s.database))
				if err != nil {
					t.Fatal(err)
				}
				es = change("db.sqlite", func(e *entry) {
					e.Typeflag, e.Linkname, e.Mode, e.Size = tar.TypeSymlink, "/opt/db.sqlite", 0o777, 0
					e.text = ""
				})(es)
				return change("image.json", func(e *entry) { e.text = `{"objects": ` + string(list) + "," + strings.TrimPrefix(e.text, "{") })(es)
			}
		}, []string{"database"}, "no Nix database"},
		{"a store that anybody writes to", func(s *sample, _ *Options) { s.edit[ofRoot] = change("nix/store", func(e *entry) { e.Mode = 0o777 }) }, []string{"files"}, "mode 777"},
		{"a store of somebody's", func(s *sample, _ *Options) { s.edit[ofRoot] = change("nix/store", func(e *entry) { e.Uid = 1000 }) }, []string{"files"}, "of 1000:0"},
		{"a command for builds", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.OnBuild = []string{"RUN evil"} })
		}, []string{"manifest"}, "ONBUILD"},
		{"a health check", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "evil"}} })
		}, []string{"manifest"}, "health check"},
		{"the folders of the store twice", func(s *sample, _ *Options) {
			s.edit[ofLib] = func(es []entry) []entry { return slices.Insert(es, 2, es[1]) }
		}, []string{"layers", "database", "links"}, "not the folder above the store objects"},
		{"a store in a layer that anybody writes to", func(s *sample, _ *Options) {
			s.edit[ofLib] = change("nix/store", func(e *entry) { e.Mode = 0o777 })
		}, []string{"files"}, "mode 777, want 755"},
		{"a store object in two places of a layer", func(s *sample, _ *Options) {
			s.edit[ofSource] = func(es []entry) []entry { return append(es, es[2:]...) }
		}, []string{"files", "database", "contents", "source", "commit"}, "not in one place of the layer"},
		{"a file of its own before hard links", func(s *sample, _ *Options) {
			s.edit[ofSource] = change("-source/default.nix", func(e *entry) { e.Typeflag, e.Linkname, e.text = tar.TypeReg, "", "evil" })
		}, []string{"contents", "source", "commit"}, "a hard link in what is no copy"},
		{"a file of its own behind hard links", func(s *sample, _ *Options) {
			s.edit[ofSource] = change("-source/lib.nix", func(e *entry) { e.Typeflag, e.Linkname, e.text = tar.TypeReg, "", "evil" })
		}, []string{"contents", "source", "commit"}, "a file of its own in a copy"},
		{"a hard link over a file", func(s *sample, _ *Options) {
			s.edit[ofRoot] = with("etc/tool", tar.TypeLink, func(e *entry) { e.Linkname = "nix/store/" + s.closure[1].Path.Base() + "/bin/nix" })
		}, []string{"layers", "commit"}, "a hard link"},
		{"a link in the place of the store", func(s *sample, _ *Options) {
			s.edit[ofRoot] = change("nix/store", func(e *entry) { e.Typeflag, e.Linkname, e.Name, e.Mode = tar.TypeSymlink, "/opt", "nix/store", 0o777 })
		}, []string{"layers", "commit"}, "is no folder"},
		{"another compression of a layer", func(s *sample, _ *Options) {
			s.after = func(img v1.Image) v1.Image { return swapped{img, ofTool, flipped} }
		}, []string{"layers"}, "its bytes have the digest"},
		{"a reference that leads out", func(s *sample, _ *Options) {
			s.plain, s.closure = true, s.closure[1:]
			delete(s.set.Links, "/lib64/ld.so")
		}, []string{"closure"}, "refers to"},
		{"a manifest of two lists of layers", func(s *sample, _ *Options) {
			s.after = func(img v1.Image) v1.Image {
				made := rewrite(func(*v1.Manifest) {})(img).(rewritten)
				made.raw = append([]byte(`{"layers": [],`), made.raw[1:]...)
				return made
			}
		}, []string{"manifest"}, `"layers" is there twice`},
		{"more layers than an engine bears", func(s *sample, _ *Options) {
			s.after = func(img v1.Image) v1.Image {
				more, err := mutate.AppendLayers(img, slices.Repeat([]v1.Layer{static.NewLayer([]byte("x"), types.OCILayer)}, mostLayers)...)
				if err != nil {
					panic(err)
				}
				return more
			}
		}, []string{"manifest", "commit"}, "131 layers, more than 127"},
		{"a layer from elsewhere", func(s *sample, _ *Options) {
			s.after = rewrite(func(m *v1.Manifest) { m.Layers[0].URLs = []string{"https://example.org"} })
		}, []string{"manifest", "commit"}, "from 1 addresses"},
		{"a size of a layer", func(s *sample, _ *Options) {
			s.after = rewrite(func(m *v1.Manifest) { m.Layers[0].Size++ })
		}, []string{"layers"}, "the manifest says"},
		{"a root file system of another type", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.RootFS.Type = "x" })
		}, []string{"manifest"}, `root file system of type "x"`},
		{"the hash for fetchTarball", func(s *sample, _ *Options) {
			s.after = relabel(map[string]string{image.Sha256Label: strings.Repeat("0", 52)})
		}, []string{"source"}, image.Sha256Label},
		{"the time for flakes", func(s *sample, _ *Options) {
			s.after = relabel(map[string]string{image.LastModifiedLabel: "7"})
		}, []string{"labels"}, image.LastModifiedLabel},
		{"other tools in the labels", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.Labels[image.ToolsLabel] = "[]" })
		}, []string{"labels"}, "has other tools"},
		{"the title of the index", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.Labels["org.opencontainers.image.title"] = "x" })
		}, []string{"labels"}, `label org.opencontainers.image.title is "x", the index says`},
		{"another commit by GitHub", func(s *sample, o *Options) {
			o.Commits = asked{commit: heads.Commit{Rev: gittest.Rev("b"), Tree: s.tree.TreeID, Date: time.Unix(1e9, 0).UTC()}}
		}, []string{"commit"}, "the commit is bbbb"},
		{"a root less", func(s *sample, _ *Options) { s.roots = s.roots[1:] }, []string{"gcroots"}, "no root keeps"},
		{"a root that leads nowhere", func(s *sample, _ *Options) {
			s.roots = append(s.roots, s.object(t, "gone", func(w *nar.Writer) { s.putFile(t, w, "", "x", false) }).Path)
		}, []string{"gcroots", "links"}, "which is no store object of the image"},
		{"a link that leads nowhere", func(s *sample, _ *Options) { s.set.Links["/bin/sh"] += "-not" }, []string{"links"}, "which is not there"},
		{"no database", func(s *sample, _ *Options) { s.edit[ofRoot] = without("db.sqlite") }, []string{"database", "commit"}, "no Nix database"},
		{"not a database", func(s *sample, _ *Options) {
			s.edit[ofRoot] = change("db.sqlite", func(e *entry) { e.text = "no database" })
		}, []string{"database", "commit"}, "file is not a database"},
		{"a database cut off", func(s *sample, _ *Options) {
			s.edit[ofRoot] = change("db.sqlite", func(e *entry) { e.text = e.text[:8192] })
		}, []string{"database", "commit"}, "malformed"},
		{"a command that is not there", func(s *sample, _ *Options) { s.set.Cmd = []string{"/bin/bash"} }, []string{"files"}, "/bin/bash is missing"},
		{"the list of a layer", func(s *sample, _ *Options) {
			s.relist = func(stack []*layers.Layer) []*layers.Layer {
				stack[0].Paths, stack[1].Paths = stack[1].Paths, stack[0].Paths
				return stack
			}
		}, []string{"layers", "files"}, "its list says"},
		{"the key of a layer", func(s *sample, _ *Options) {
			s.relist = func(stack []*layers.Layer) []*layers.Layer { stack[0].Key = stack[1].Key; return stack }
		}, []string{"layers"}, "its key"},
		{"layers that have changed places", func(s *sample, _ *Options) {
			s.relist = func(stack []*layers.Layer) []*layers.Layer { stack[2], stack[3] = stack[3], stack[2]; return stack }
		}, []string{"layers", "commit"}, "in the store, in the layer with the root"},
		{"a second archive behind the first", func(s *sample, _ *Options) {
			s.edit[ofRoot], s.behind = without("/no such file"), strings.Repeat("\x00", 2048)+"etc/ld.so.preload"
		}, []string{"layers"}, "goes on behind the end"},
		{"a diffID", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.RootFS.DiffIDs[0] = c.RootFS.DiffIDs[1] })
		}, []string{"layers"}, "the configuration says"},
		{"a diffID less", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.RootFS.DiffIDs = c.RootFS.DiffIDs[1:] })
		}, []string{"manifest", "commit"}, "3 diffIDs"},
		{"the bytes of a layer", func(s *sample, _ *Options) {
			s.after = func(img v1.Image) v1.Image {
				return swapped{img, ofTool, func(l v1.Layer) v1.Layer {
					other, err := random.Layer(100, "application/vnd.oci.image.layer.v1.tar+gzip")
					if err != nil {
						panic(err)
					}
					return other
				}}
			}
		}, []string{"layers", "database", "links"}, "more bytes than the manifest says"},
		{"another platform", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Architecture = "arm64" })
		}, []string{"manifest", "labels"}, "the index says platform linux/amd64"},
		{"a label", func(s *sample, _ *Options) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.Labels[image.ChannelLabel] = "x" })
		}, []string{"labels"}, "io.github.nixpkgs-factory.channel is \"x\""},
		{"all labels of a channel", func(s *sample, _ *Options) { s.after = relabel(map[string]string{image.ChannelLabel: "x"}) }, []string{"labels", "commit"}, "image.json in the image says"},
		{"another date", func(s *sample, _ *Options) { s.facts.Nixpkgs.Date = time.Unix(2e9, 0) }, []string{"commit"}, "the commit is of"},
		{"another hash of nixpkgs", func(s *sample, _ *Options) { s.facts.Nixpkgs.NarHash[0] ^= 1 }, []string{"source"}, "is not among the sources"},
		{"another version of nixpkgs", func(s *sample, _ *Options) { s.facts.Nixpkgs.Version = "24.05" }, []string{"source"}, "says the version"},
		{"tools that are not in the image", func(s *sample, _ *Options) {
			s.set.Tools = []toolset.Tool{{Attr: "x", Name: "x", Path: s.object(t, "x", func(w *nar.Writer) { s.putFile(t, w, "", "x", false) }).Path}}
		}, []string{"labels", "links"}, "which is not in the image"},
		{"another tree", func(s *sample, o *Options) {
			o.Commits = asked{commit: heads.Commit{Rev: gittest.Rev("a"), Tree: gittest.TreeID("b"), Date: time.Unix(1e9, 0).UTC()}}
		}, []string{"commit"}, "the commit has bbbb"},
		{"a commit of a fork", func(s *sample, o *Options) {
			a := o.Commits.(asked)
			a.fork = true
			o.Commits = a
		}, []string{"commit"}, "or from a fork"},
		{"a cache has another NAR", func(s *sample, o *Options) {
			other := slices.Clone(s.closure)
			other[0].NarSize++
			s.plain, o.Infos = true, known(other)
		}, []string{"signatures"}, "a binary cache has the NAR hash"},
		{"a cache knows other references", func(s *sample, o *Options) {
			other := slices.Clone(s.closure)
			other[1].References = nil
			s.plain, o.Infos = true, known(other)
		}, []string{"signatures"}, "refers to other store objects"},
		{"no cache has it", func(s *sample, o *Options) { s.plain, o.Infos = true, known(s.closure[:1]) }, []string{"signatures"}, "-nix-2.31: not found"},
		{"no such commit", func(s *sample, o *Options) {
			o.Commits = asked{err: &heads.UnknownCommitError{Rev: "a", Repository: "NixOS/nixpkgs"}}
		}, []string{"commit"}, "has no commit"},
		{"unpacks to too much", func(_ *sample, o *Options) { o.Most = 5000 }, []string{"layers", "commit"}, "unpacks to more than 5000 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good(t)
			o := s.options(t)
			tt.damage(s, &o)
			r, err := Image(t.Context(), Target{Index: s.index(t)}, o)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(results(r, Failed), tt.failed) || !strings.Contains(strings.ReplaceAll(text(t, r), `\"`, `"`), tt.want) {
				t.Errorf("failed %v, want %v with %q\n%s", results(r, Failed), tt.failed, tt.want, text(t, r))
			}
		})
	}
}

// The images of two platforms are verified each, and what they share is read once.
func TestPlatforms(t *testing.T) {
	s := good(t)
	var parts []image.Part
	for _, name := range []string{"x86_64-linux", "aarch64-linux"} {
		if s.system = systemOf(name); name == "aarch64-linux" {
			s.edit[ofRoot] = change("etc/passwd", func(e *entry) { e.Uid = 7; e.Mode = 0o644; e.ModTime = time.Unix(9, 0) })
		}
		parts = append(parts, image.Part{System: s.system, Image: s.image(t)})
	}
	index, err := image.Index(parts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Image(t.Context(), Target{Index: index}, s.options(t))
	if err != nil {
		t.Fatal(err)
	}
	var wrong []string
	for _, c := range r.Checks {
		if c.Result == Failed {
			wrong = append(wrong, c.System+" "+c.Name)
		}
	}
	if !slices.Equal(wrong, []string{"aarch64-linux files"}) || len(r.Images) != 2 {
		t.Errorf("failed %v\n%s", wrong, text(t, r))
	}
	var all, shared int64
	for i, p := range parts {
		manifest, err := p.Image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for place, l := range manifest.Layers {
			if all += l.Size; i == 1 && place < ofRoot {
				shared += l.Size
			}
		}
	}
	if shared == 0 || r.Bytes != all-shared {
		t.Errorf("%d bytes were read, want %d of %d", r.Bytes, all-shared, all)
	}

	o := s.options(t)
	o.Wanted = func(p v1.Platform) bool { return p.Architecture == "amd64" }
	if r, err := Image(t.Context(), Target{Index: index}, o); err != nil || !r.Verified() || len(r.Images) != 1 {
		t.Errorf("of one platform: %v, %v", results(r, Failed), err)
	}
	o.Wanted = func(p v1.Platform) bool { return false }
	if _, err := Image(t.Context(), Target{Index: index}, o); err == nil || !strings.Contains(err.Error(), "linux/amd64, linux/arm64/v8") {
		t.Errorf("of no platform: %v", err)
	}
}

// What nobody signs is no failure, and the report says that there is such a thing.
func TestUnproven(t *testing.T) {
	for _, tt := range []struct {
		name   string
		damage func(*sample)
		want   string
	}{
		{"a file that runs as root", func(s *sample) {
			s.edit[ofRoot] = with("etc/su", tar.TypeReg, func(e *entry) { e.Mode = 0o4755 })
		}, "note: /etc/su has mode 4755"},
		{"a file that anybody writes to", func(s *sample) { s.edit[ofRoot] = change("etc/passwd", func(e *entry) { e.Mode = 0o666 }) }, "note: /etc/passwd has mode 666"},
		{"a file of somebody's", func(s *sample) { s.edit[ofRoot] = change("etc/passwd", func(e *entry) { e.Uid = 1000 }) }, "note: /etc/passwd is of 1000:0"},
		{"a library that is always loaded", func(s *sample) { s.edit[ofRoot] = with("etc/ld.so.preload", tar.TypeReg, nil) }, "/etc/ld.so.preload"},
		{"another object of those that are signed", func(s *sample) {}, "which store objects there are"},
		{"a variable", func(s *sample) {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.Config.Env = append(c.Config.Env, "LD_PRELOAD=/evil") })
		}, "(1 variables, command, user)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := good(t)
			tt.damage(s)
			r, err := Image(t.Context(), Target{Index: s.index(t)}, s.options(t))
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == rootCheck })
			if !r.Verified() || r.Checks[i].Result != Not || !strings.Contains(r.Checks[i].Text, tt.want) {
				t.Errorf("want %q not checked, and nothing failed\n%s", tt.want, text(t, r))
			}
		})
	}
}

// A configuration says nothing that only some readers know.
func TestConfigOfOthers(t *testing.T) {
	for text, good := range map[string]bool{
		`{"architecture": "amd64", "config": {"Env": ["A=b"], "Volumes": {"/x": {}}}}`: true,
		`{"architecture": "amd64", "config": {"Devices": ["/dev/sda"]}}`:               false,
		`{"architecture": "amd64", "os.secret": 1}`:                                    false,
		`{"config": {"Shell": ["/evil"]}}`:                                             false,
		`[]`:                                                                           false,
	} {
		c := newCheck("", "manifest")
		if holdConfig(c, []byte(text)); (c.Result == Passed) != good {
			t.Errorf("%s: %s %q, want it to pass: %t", text, c.Result, c.Problems, good)
		}
	}
}

// rewritten has another manifest.
type rewritten struct {
	v1.Image
	raw []byte
}

func (r rewritten) RawManifest() ([]byte, error)    { return r.raw, nil }
func (r rewritten) Manifest() (*v1.Manifest, error) { return partial.Manifest(r) }
func (r rewritten) Digest() (v1.Hash, error)        { return partial.Digest(r) }
func (r rewritten) Size() (int64, error)            { return partial.Size(r) }

// rewrite changes what the manifest of an image says.
func rewrite(edit func(*v1.Manifest)) func(v1.Image) v1.Image {
	return func(img v1.Image) v1.Image {
		m, err := img.Manifest()
		if err != nil {
			panic(err)
		}
		m = m.DeepCopy()
		edit(m)
		raw, err := json.Marshal(m)
		if err != nil {
			panic(err)
		}
		return rewritten{img, raw}
	}
}

// flipped is a layer of other bytes, as many, that unpack to the same.
func flipped(l v1.Layer) v1.Layer {
	rc, err := l.Compressed()
	if err != nil {
		panic(err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		panic(err)
	}
	data[9] ^= 1 // the system on which gzip ran
	return static.NewLayer(data, types.OCILayer)
}

// lying gives another image than it was asked for.
type lying struct {
	index
	img v1.Image
}

type index = v1.ImageIndex // which has a method of that name

func (l lying) Image(v1.Hash) (v1.Image, error) { return l.img, nil }

// An index has each platform once, and the images that it names.
func TestOddIndexes(t *testing.T) {
	s := good(t)
	img, made := s.image(t), s.index(t)
	extra := func(p *v1.Platform) v1.ImageIndex {
		return mutate.AppendManifests(made, mutate.IndexAddendum{Add: image.Plain{Image: img}, Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, Platform: p}})
	}
	for name, tt := range map[string]struct {
		index  v1.ImageIndex
		failed []string
		want   string
	}{
		"a platform twice":  {extra(&v1.Platform{OS: "linux", Architecture: "amd64"}), []string{"index"}, "two images for linux/amd64"},
		"no platform":       {extra(nil), []string{"index"}, "which the factory does not make"},
		"unknown platform":  {extra(&v1.Platform{OS: "unknown", Architecture: "unknown"}), []string{"index"}, "which the factory does not make"},
		"another platform":  {extra(&v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}), []string{"manifest"}, "the index says platform linux/arm64/v8"},
		"another image":     {lying{made, relabel(map[string]string{"a": "b"})(img)}, []string{"manifest"}, "the manifest has"},
		"another config":    {lying{made, claimed{img, []byte("{}")}}, []string{"manifest"}, "the configuration has 2 bytes"},
		"nothing different": {made, []string{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := Image(t.Context(), Target{Index: tt.index}, s.options(t))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(slices.Compact(results(r, Failed)), tt.failed) || !strings.Contains(text(t, r), tt.want) {
				t.Errorf("failed %v, want %v with %q\n%s", results(r, Failed), tt.failed, tt.want, text(t, r))
			}
		})
	}
}

// claimed has another configuration than its manifest names.
type claimed struct {
	v1.Image
	raw []byte
}

func (c claimed) RawConfigFile() ([]byte, error) { return c.raw, nil }

// Two images have a layer in common, and one says another diffID of it.
func TestSharedLayer(t *testing.T) {
	s := good(t)
	var parts []image.Part
	for _, name := range []string{"x86_64-linux", "aarch64-linux"} {
		if s.system = systemOf(name); name == "aarch64-linux" {
			s.after = reconfigure(func(c *v1.ConfigFile) { c.RootFS.DiffIDs[0] = c.RootFS.DiffIDs[1] })
		}
		parts = append(parts, image.Part{System: s.system, Image: s.image(t)})
	}
	index, err := image.Index(parts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Image(t.Context(), Target{Index: index}, s.options(t))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(results(r, Failed), []string{"layers"}) {
		t.Errorf("failed %v, want the layers of one\n%s", results(r, Failed), text(t, r))
	}
}

// What git cannot have is no tree of a commit.
func TestNoGitTree(t *testing.T) {
	for name, entries := range map[string][]nar.Entry{
		"a file":          {{Kind: nar.Regular}},
		"an empty folder": {{Kind: nar.Directory}, {Path: "a", Kind: nar.Regular}, {Path: "b", Kind: nar.Directory}},
	} {
		var tree gitTree
		for _, e := range entries {
			tree.add(e, git.BlobID(""))
		}
		if id, err := tree.id(); err == nil {
			t.Errorf("%s: %s, want an error", name, id)
		}
	}
}

// What is said twice is said otherwise to another reader.
func TestNamesOnce(t *testing.T) {
	for text, good := range map[string]bool{
		`{"a": [{"b": 1}, {"b": 2}, []], "c": {"a": null}}`: true,
		`{"a": 1, "b": 2, "a": 3}`:                          false,
		`{"x": [{"layers": [], "Layers": []}]}`:             false,
		`{"": 1, "": 2}`:                                    false,
		`{"a": `:                                            false,
	} {
		c := newCheck("", "manifest")
		if holdNames(c, "it", []byte(text)); (c.Result == Passed) != good {
			t.Errorf("%s: %s %q, want it to pass: %t", text, c.Result, c.Problems, good)
		}
	}
}

// A header of what is no file has no bytes: Go's reader passes over them, others may not.
func TestBytesOfALink(t *testing.T) {
	h := tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "b", ModTime: time.Unix(1, 0)}
	if err := new(scan).canonical(&h); err != nil {
		t.Fatal(err)
	}
	h.Size = 512
	if err := new(scan).canonical(&h); err == nil {
		t.Error("a link of 512 bytes: no error")
	}
}

func TestNotMade(t *testing.T) {
	img, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Image(t.Context(), Target{Image: img}, Options{}); !errors.Is(err, ErrNotMade) {
		t.Errorf("Image() = %v, want %v", err, ErrNotMade)
	}
}
