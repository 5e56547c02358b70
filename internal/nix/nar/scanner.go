package nar

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// scanner reads the strings that archives consist of:
// a length of eight bytes, least first, the bytes, and zeros up to a multiple of eight.
type scanner struct {
	src    io.Reader
	srcErr error // of src, held back until the bytes before it are used up
	buf    []byte
	lo, hi int   // the part of buf that has not been used
	pos    int64 // offset of buf[lo] in the archive
	size   int64 // of the archive; negative if unknown
}

// expect reads the given strings.
func (s *scanner) expect(words ...string) error {
	for _, want := range words {
		got, err := s.token(maxWord)
		if err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("want %q, found %q", want, got)
		}
	}
	return nil
}

// token reads a string of at most max bytes, which is valid until the next read.
func (s *scanner) token(max int64) ([]byte, error) {
	n, err := s.length(max)
	if err != nil {
		return nil, err
	}
	padded := int(n) + padding(n)
	if err := s.need(padded); err != nil {
		return nil, err
	}
	token := s.buf[s.lo : s.lo+padded]
	for _, b := range token[n:] {
		if b != 0 {
			return nil, errors.New("padding that is not zero")
		}
	}
	s.use(padded)
	return token[:n], nil
}

// zeros reads n bytes of padding.
func (s *scanner) zeros(n int) error {
	if err := s.need(n); err != nil {
		return err
	}
	for _, b := range s.buf[s.lo : s.lo+n] {
		if b != 0 {
			return errors.New("padding that is not zero")
		}
	}
	s.use(n)
	return nil
}

// length reads the length of a string.
func (s *scanner) length(max int64) (int64, error) {
	if err := s.need(wordSize); err != nil {
		return 0, err
	}
	n := binary.LittleEndian.Uint64(s.buf[s.lo:])
	switch {
	case n > uint64(max):
		return 0, fmt.Errorf("string of %d bytes (at most %d)", n, max)
	case s.size >= 0 && n > uint64(s.size-s.pos-wordSize):
		return 0, fmt.Errorf("string of %d bytes, of which only %d can follow", n, s.size-s.pos-wordSize)
	}
	s.use(wordSize)
	return int64(n), nil
}

// need makes the next n bytes of the archive available in buf.
func (s *scanner) need(n int) error {
	if s.size >= 0 && int64(n) > s.size-s.pos {
		return fmt.Errorf("goes on beyond its %d bytes", s.size)
	}
	return s.fill(n)
}

func (s *scanner) fill(n int) error {
	if s.hi-s.lo >= n {
		return nil
	}
	s.hi = copy(s.buf, s.buf[s.lo:s.hi])
	s.lo = 0
	for s.hi < n {
		m, err := s.readSource(s.buf[s.hi:])
		s.hi += m
		if err != nil {
			return err
		}
	}
	return nil
}

// use moves on by n bytes that are in buf.
func (s *scanner) use(n int) {
	s.lo += n
	s.pos += int64(n)
}

// readSource returns an error only if it returns no bytes.
func (s *scanner) readSource(p []byte) (int, error) {
	const maxEmptyReads = 100
	for range maxEmptyReads {
		if s.srcErr == io.EOF {
			return 0, io.ErrUnexpectedEOF
		}
		if s.srcErr != nil {
			return 0, s.srcErr
		}
		var n int
		if n, s.srcErr = s.src.Read(p); n > 0 {
			return n, nil
		}
	}
	return 0, io.ErrNoProgress
}
