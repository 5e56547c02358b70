package registry

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ImmutableTagError says that a tag leads to something else and that the
// registry refuses to have it moved. What is there stays as it is.
type ImmutableTagError struct {
	Ref  string  // of the tag
	Now  v1.Hash // what the tag leads to
	Want v1.Hash // what it should have led to
	Err  error   // the registry's answer
}

func (e *ImmutableTagError) Error() string {
	return fmt.Sprintf("the tag is immutable: it stays on %s and does not move to %s: %v", e.Now, e.Want, e.Err)
}

func (e *ImmutableTagError) Unwrap() error { return e.Err }

// NoRepositoryError says that a repository does not exist and is not made by
// pushing to it.
type NoRepositoryError struct {
	Repository string
	Err        error // the registry's answer
}

func (e *NoRepositoryError) Error() string {
	return fmt.Sprintf("the repository %s does not exist, and this registry makes none by itself: create it first (%v)", e.Repository, e.Err)
}

func (e *NoRepositoryError) Unwrap() error { return e.Err }
