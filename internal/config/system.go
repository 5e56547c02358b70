package config

import (
	"fmt"
	"slices"
)

// System is a platform that images are made for, in the words of Nix and of OCI.
type System struct {
	Nix      string // such as x86_64-linux
	OS, Arch string // such as linux, amd64
	Variant  string // such as v8; "" where the architecture has none
}

// systems are all that images can be made for, in the order of the index.
var systems = []System{
	{Nix: "x86_64-linux", OS: "linux", Arch: "amd64"},
	{Nix: "aarch64-linux", OS: "linux", Arch: "arm64", Variant: "v8"},
}

var system = func() form[System] {
	var names []string
	for _, s := range systems {
		names = append(names, s.Nix)
	}
	return form[System]{want: alternatives(systems, System.String), words: names, parse: func(s string) (System, error) {
		if i := slices.Index(names, s); i >= 0 {
			return systems[i], nil
		}
		return System{}, fmt.Errorf("unknown system %q", s)
	}}
}()

// ParseSystem finds a system by the name that Nix gives it.
func ParseSystem(s string) (System, error) { return system.read(s) }

// String is the name that Nix gives the system.
func (s System) String() string { return s.Nix }

// MarshalText returns the name that Nix gives the system, nothing for none.
func (s System) MarshalText() ([]byte, error) { return []byte(s.Nix), nil }

// UnmarshalText accepts the name that Nix gives a system; an empty text is none.
func (s *System) UnmarshalText(text []byte) (err error) {
	*s = System{}
	if len(text) > 0 {
		*s, err = ParseSystem(string(text))
	}
	return err
}
