package release

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/gzip"
)

// member is a file of an archive.
type member struct {
	name string
	mode int64
	data []byte
}

// writeArchive writes members below a folder, all of one time and of nobody.
func writeArchive(file, folder string, when time.Time, members []member) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(pack(f, folder, when, members), f.Close())
}

func pack(w io.Writer, folder string, when time.Time, members []member) error {
	compressed, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	archive := tar.NewWriter(compressed)
	for _, m := range members {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + m.name, Mode: m.mode, Size: int64(len(m.data)), ModTime: when, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(m.data); err != nil {
			return err
		}
	}
	return errors.Join(archive.Close(), compressed.Close())
}
