// Package nix turns the texts in which Nix speaks of store objects
// (hashes, store paths, content addresses, narinfo files, signing keys)
// into checked Go values, and those values back into the same texts.
//
// A value of these types that came from a Parse function is well formed:
// a StorePath names one object directly below StoreDir,
// a Hash has its 32 bytes, the References of a NARInfo are sorted and unique.
// The package reads no file and opens no connection.
//
// The formats are those of the Nix manual ("Store path specification",
// "Nix archive format", "Binary cache") as the released versions 2.3 to 2.34 implement them.
package nix

// StoreDir is the folder that holds all store objects.
// It takes part in the computation of every store path, so it cannot be configured.
const StoreDir = "/nix/store"
