package fetch

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
)

// openFile opens a file URL. Only regular files are served: anything else could block or have no end.
func (b *Body) openFile(u *url.URL) error {
	if u.Host != "" && u.Host != "localhost" {
		return b.fail(fmt.Errorf("%w: a file on another host", errScheme))
	}
	info, err := os.Stat(u.Path)
	if err != nil {
		return b.fail(withoutPath(err))
	}
	if !info.Mode().IsRegular() {
		return b.fail(errNotFile)
	}
	if info.Size() > b.max {
		return b.fail(fmt.Errorf("%d bytes: %w", info.Size(), tooLarge(b.max)))
	}
	f, err := os.Open(u.Path)
	if err != nil {
		return b.fail(withoutPath(err))
	}
	b.src, b.local, b.size, b.final = f, true, info.Size(), u.String()
	return nil
}

// withoutPath drops the path from an error that will be shown next to the URL.
func withoutPath(err error) error {
	var named *fs.PathError
	if errors.As(err, &named) {
		return named.Err
	}
	return err
}
