package attictest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

const (
	maxHeader   = 4 << 10 // as a proxy might bound a header; clients must use the preamble from here on
	maxPreamble = 1 << 20
)

// storedNAR is a NAR that the server has, compressed.
type storedNAR struct {
	file     string
	size     int64 // of the NAR
	fileSize int64
	fileHash nix.Hash
}

// upload is the NAR info of an upload, decoded but not believed.
type upload struct {
	Cache         *string   `json:"cache"`
	StorePathHash *string   `json:"store_path_hash"`
	StorePath     *string   `json:"store_path"`
	References    *[]string `json:"references"`
	System        *string   `json:"system"`
	Deriver       *string   `json:"deriver"`
	Sigs          *[]string `json:"sigs"`
	CA            *string   `json:"ca"`
	NarHash       *string   `json:"nar_hash"`
	NarSize       *int64    `json:"nar_size"`
}

func (s *Server) uploadPath(w http.ResponseWriter, r *http.Request) {
	text, err := uploadInfo(r)
	var info nix.PathInfo
	var up upload
	if err == nil {
		up, info, err = s.parseUpload(text)
	}
	if err != nil {
		bad(w, "%v", err)
		return
	}
	if !s.allow(w, r, *up.Cache, Push) {
		return
	}
	s.mu.Lock()
	stored, known := s.nars[info.NarHash]
	s.mu.Unlock()
	kind := "Deduplicated"
	switch {
	case known && s.options.Trusting:
		// The body is not wanted; the connection ends with the answer.
		w.Header().Set("Connection", "close")
	case known:
		err = prove(r.Body, info)
	default:
		kind = "Uploaded"
		stored, err = s.store(r.Body, info)
	}
	if err != nil {
		bad(w, "%v", err)
		return
	}
	s.register(info, stored)
	answer(w, map[string]any{"kind": kind, "file_size": stored.fileSize})
}

// uploadInfo returns the NAR info: a header, or the first part of the body.
func uploadInfo(r *http.Request) ([]byte, error) {
	inHeader, size := r.Header.Get("X-Attic-Nar-Info"), r.Header.Get("X-Attic-Nar-Info-Preamble-Size")
	switch {
	case inHeader != "" && size != "":
		return nil, errors.New("X-Attic-Nar-Info and X-Attic-Nar-Info-Preamble-Size are both set")
	case len(inHeader) >= maxHeader:
		return nil, errors.New("X-Attic-Nar-Info is too large")
	case inHeader != "":
		return []byte(inHeader), nil
	case size == "":
		return nil, errors.New("X-Attic-Nar-Info must be set")
	}
	n, err := strconv.Atoi(size)
	if err != nil || n < 0 || n > maxPreamble {
		return nil, fmt.Errorf("bad X-Attic-Nar-Info-Preamble-Size %q", size)
	}
	text := make([]byte, n)
	_, err = io.ReadFull(r.Body, text)
	return text, err
}

// parseUpload checks the form of a NAR info.
func (s *Server) parseUpload(text []byte) (upload, nix.PathInfo, error) {
	var up upload
	var info nix.PathInfo
	if err := json.Unmarshal(text, &up); err != nil {
		return up, info, err
	}
	if up.Cache == nil || up.StorePathHash == nil || up.StorePath == nil || up.References == nil ||
		up.Sigs == nil || up.NarHash == nil || up.NarSize == nil {
		return up, info, errors.New("a field is missing")
	}
	var err error
	if info.Path, err = nix.ParseStorePath(*up.StorePath); err != nil {
		return up, info, err
	}
	if info.Path.Digest() != *up.StorePathHash {
		return up, info, fmt.Errorf("store_path_hash %q is not that of %s", *up.StorePathHash, info.Path)
	}
	for _, base := range *up.References {
		ref, err := nix.ParseStorePathBase(base)
		if err != nil {
			return up, info, err
		}
		info.References = append(info.References, ref)
	}
	if len(*up.NarHash) != len("sha256:")+64 || !strings.HasPrefix(*up.NarHash, "sha256:") {
		return up, info, fmt.Errorf("bad nar_hash %q", *up.NarHash)
	}
	if info.NarHash, err = nix.ParseHash(*up.NarHash); err != nil {
		return up, info, err
	}
	if info.NarSize = *up.NarSize; info.NarSize <= 0 {
		return up, info, errors.New("bad nar_size")
	}
	if up.CA != nil {
		info.CA = *up.CA
	}
	return up, info, s.checkSignatures(info, *up.Sigs)
}

// checkSignatures refuses what is no signature, and what claims to be of a
// known key and is not.
func (s *Server) checkSignatures(info nix.PathInfo, sigs []string) error {
	for _, text := range sigs {
		sig, err := nix.ParseSignature(text)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(s.options.Keys, func(k nix.PublicKey) bool { return k.Name() == sig.Name })
		if i < 0 {
			continue
		}
		alone := info
		alone.CA, alone.Sigs = "", []nix.Signature{sig}
		if err := alone.Trusted(s.options.Keys[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

var errBadNAR = errors.New("bad NAR hash or size")

// prove reads a NAR that the server has already.
func prove(body io.Reader, info nix.PathInfo) error {
	sum := sha256.New()
	n, err := io.Copy(sum, body)
	if err == nil && (n != info.NarSize || nix.Hash(sum.Sum(nil)) != info.NarHash) {
		err = errBadNAR
	}
	return err
}

// store reads and keeps a new NAR.
func (s *Server) store(body io.Reader, info nix.PathInfo) (stored storedNAR, err error) {
	f, err := os.CreateTemp(s.dir, "upload-*")
	if err != nil {
		return stored, err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	fileSum, narSum := sha256.New(), sha256.New()
	compressor, err := zstd.NewWriter(io.MultiWriter(f, fileSum), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return stored, err
	}
	stored.size, err = io.Copy(io.MultiWriter(compressor, narSum), body)
	err = errors.Join(err, compressor.Close())
	if err == nil && (stored.size != info.NarSize || nix.Hash(narSum.Sum(nil)) != info.NarHash) {
		err = errBadNAR
	}
	stat, failed := f.Stat()
	if err = errors.Join(err, failed, f.Close()); err != nil {
		return stored, err
	}
	stored.fileSize, stored.fileHash = stat.Size(), nix.Hash(fileSum.Sum(nil))
	stored.file = filepath.Join(s.dir, info.NarHash.Base32()+".nar.zst")
	return stored, os.Rename(f.Name(), stored.file)
}

// register adds an object to the cache, signed by nobody but the cache.
func (s *Server) register(info nix.PathInfo, stored storedNAR) {
	info.Sigs = nil
	info.Sigs = []nix.Signature{s.key.Sign(info)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nars[info.NarHash] = stored
	s.objects[info.Path.Digest()] = nix.NARInfo{
		PathInfo:    info,
		URL:         "nar/" + info.Path.Digest() + ".nar",
		Compression: "zstd",
		FileHash:    stored.fileHash.String(),
		FileSize:    stored.fileSize,
	}
}
