package cycle

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/upload"
)

// contents are the store objects of one system's image, but for the source.
type contents struct {
	closure []nix.PathInfo
	objects objects
}

// upload brings what is in the images to the binary caches that want it. The
// images are published by now: a cache that fails is reported and fails nothing.
func (f *Factory) upload(ctx context.Context, src nixpkgs, s stacks, log *slog.Logger) {
	if len(f.Uploads) == 0 {
		return
	}
	all := made{from: make(map[nix.StorePath]objects), src: src}
	infos := make(map[nix.StorePath]nix.PathInfo)
	for _, one := range s.each {
		for _, info := range one.contents.closure {
			infos[info.Path] = info
			all.from[info.Path] = one.contents.objects
		}
	}
	if s.base != nil {
		for _, info := range src.objects {
			infos[info.Path] = info
		}
	}
	list := slices.SortedFunc(maps.Values(infos), func(x, y nix.PathInfo) int { return x.Path.Compare(y.Path) })
	for _, to := range f.Uploads {
		report, err := to.Push(ctx, list, all)
		var passed *upload.NotPushed
		switch {
		case errors.As(err, &passed):
			log.Warn("binary cache passed over", "cache", to.Name(), "reason", passed.Reason)
		case err != nil:
			log.Error("published, but a binary cache was not filled", "cache", to.Name(), "error", err)
		default:
			log.Info("binary cache filled", "cache", to.Name(), "pushed", report.Pushed, "present", report.Present, "upstream", report.Upstream, "bytes", report.Bytes)
		}
	}
}

// made opens the NARs of everything in an image.
type made struct {
	from map[nix.StorePath]objects
	src  nixpkgs
}

// NAR implements layers.NARs. The source's NAR is written from its tree.
func (m made) NAR(ctx context.Context, info nix.PathInfo) (io.ReadCloser, error) {
	isSource := slices.ContainsFunc(m.src.objects, func(s nix.PathInfo) bool { return s.Path == info.Path })
	if !isSource {
		return m.from[info.Path].NAR(ctx, info)
	}
	return upload.Written(m.src.tree.WriteNAR), nil
}
