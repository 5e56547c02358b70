package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"log"

	"github.com/nixpkgs-factory/factory/internal/nix/nar"
)

func Example() {
	var archive bytes.Buffer
	w := nar.NewWriter(&archive)
	for _, e := range []nar.Entry{
		{Kind: nar.Directory},
		{Path: "bin", Kind: nar.Directory},
		{Path: "bin/hello", Kind: nar.Regular, Executable: true, Size: 10},
		{Path: "readme", Kind: nar.Symlink, Target: "doc"},
	} {
		if err := w.WriteEntry(e); err != nil {
			log.Fatal(err)
		}
		if e.Kind == nar.Regular {
			fmt.Fprint(w, "#!/bin/sh\n")
		}
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	r := nar.NewReader(&archive, int64(archive.Len()))
	for {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		contents, err := io.ReadAll(r)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v %q %t %q %q\n", e.Kind, e.Path, e.Executable, e.Target, contents)
	}
	// Output:
	// directory "" false "" ""
	// directory "bin" false "" ""
	// regular "bin/hello" true "" "#!/bin/sh\n"
	// symlink "readme" false "doc" ""
}
