package run

import (
	"time"
)

// Confinement is what a program is held to. How well depends on the system:
// limits and namespaces are Linux'.
//
// The factory starts itself again for that (see stage_linux.go): a stage that
// sets limits, makes namespaces, and then becomes the program.
type Confinement struct {
	Memory  int64         // bytes of data that it may have; 0: no limit
	CPU     time.Duration // of processor time, should nobody be left to end it; 0: no limit
	NoFiles bool          // it may not write to files

	Namespaces *Namespaces // nil: it sees what the factory sees
}

// Namespaces show a program nothing but the system's programs and libraries,
// the Nix store and the folders named here. There is no network, no other
// process, and nobody's home.
type Namespaces struct {
	Read  []string // absolute paths
	Write []string
}

// stageError is how a stage exits that could not do what it should.
const stageError = 125
