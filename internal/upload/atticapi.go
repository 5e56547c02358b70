package upload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/fetch"
	"github.com/nixpkgs-factory/factory/internal/nix"
	"github.com/nixpkgs-factory/factory/internal/said"
)

const (
	narInfoHeader  = "X-Attic-Nar-Info"
	preambleHeader = "X-Attic-Nar-Info-Preamble-Size"

	// maxHeader is from how many bytes on a NAR info is the first part of the
	// body instead of a header, which proxies bound.
	maxHeader = 4 << 10

	maxAnswer = 16 << 20 // bytes; one hash of a missing path takes some 35
)

// cacheConfig is the part of a cache's configuration that a push needs.
type cacheConfig struct {
	APIEndpoint      string   `json:"api_endpoint"`
	StoreDir         string   `json:"store_dir"`
	UpstreamKeyNames []string `json:"upstream_cache_key_names"`
}

// narInfo is what the server is told of a store object.
type narInfo struct {
	Cache         string   `json:"cache"`
	StorePathHash string   `json:"store_path_hash"`
	StorePath     string   `json:"store_path"`
	References    []string `json:"references"` // base names
	System        *string  `json:"system"`
	Deriver       *string  `json:"deriver"`
	Sigs          []string `json:"sigs"`
	CA            *string  `json:"ca"`
	NarHash       string   `json:"nar_hash"` // "sha256:" and base 16
	NarSize       int64    `json:"nar_size"`
}

// config asks for the cache's configuration, and turns to the address that the
// server wants to be called by.
func (s *session) config(ctx context.Context) (cacheConfig, error) {
	var config cacheConfig
	r := s.request(http.MethodGet, "cache-config", s.Cache)
	if err := s.ask(ctx, r, &config); err != nil {
		return config, err
	}
	if config.StoreDir != "" && config.StoreDir != nix.StoreDir {
		return config, fmt.Errorf("cache %q is for the store %q (want %q)", s.Cache, said.Line(config.StoreDir), nix.StoreDir)
	}
	if config.APIEndpoint == "" {
		return config, nil
	}
	api, err := parseEndpoint(config.APIEndpoint)
	switch {
	case err != nil:
		return config, fmt.Errorf("the server's api_endpoint %w", err)
	case s.api.Scheme == "https" && api.Scheme != "https":
		return config, fmt.Errorf("the server's api_endpoint %q would send the token without encryption", api)
	}
	s.api = api
	return config, nil
}

// missing returns those of infos that the cache does not have. It asks as often
// as attempts says, 0 for as often as it makes sense.
func (s *session) missing(ctx context.Context, infos []nix.PathInfo, attempts int) ([]nix.PathInfo, error) {
	if len(infos) == 0 {
		return nil, nil
	}
	question := struct {
		Cache  string   `json:"cache"`
		Hashes []string `json:"store_path_hashes"`
	}{Cache: s.Cache}
	for _, info := range infos {
		question.Hashes = append(question.Hashes, info.Path.Digest())
	}
	data, err := json.Marshal(question)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Missing *[]string `json:"missing_paths"`
	}
	r := s.request(http.MethodPost, "get-missing-paths")
	r.Header.Set("Content-Type", "application/json")
	r.Size, r.Body, r.Attempts = int64(len(data)), fetch.Bytes(data), attempts
	if err := s.ask(ctx, r, &answer); err != nil {
		return nil, err
	}
	if answer.Missing == nil {
		return nil, fmt.Errorf("%s %s: answer has no missing_paths", r.Method, r.URL)
	}
	absent := make(map[string]bool)
	for _, hash := range *answer.Missing {
		absent[hash] = true
	}
	return slices.DeleteFunc(slices.Clone(infos), func(info nix.PathInfo) bool { return !absent[info.Path.Digest()] }), nil
}

// request is one call of the API.
func (s *session) request(method string, call ...string) fetch.Request {
	return fetch.Request{
		Method:  method,
		URL:     s.api.JoinPath("_api/v1").JoinPath(call...).String(),
		Header:  http.Header{"Authorization": {"bearer " + s.Token}},
		Max:     maxAnswer,
		Refused: s.refused,
	}
}

// ask sends a request that is answered with JSON.
func (s *session) ask(ctx context.Context, r fetch.Request, answer any) error {
	data, err := s.Client.Send(ctx, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return fmt.Errorf("%s %s: answer is not Attic's: %v", r.Method, r.URL, said.Error(err))
	}
	return nil
}

// upload sends one object. Errors name it.
func (s *session) upload(ctx context.Context, info nix.PathInfo, objects Objects) error {
	r, err := s.uploadRequest(info, objects)
	if err != nil {
		return named(info, err)
	}
	// A server that does not want to read a NAR it knows may answer and
	// hang up while we write, and the answer is lost. The cache knows.
	r.Lost = func(ctx context.Context) (bool, error) {
		missing, err := s.missing(ctx, []nix.PathInfo{info}, 1)
		if denied(err) {
			return false, err
		}
		return err == nil && len(missing) == 0, nil
	}
	_, err = s.Client.Send(ctx, r)
	var source *fetch.BodyError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &source): // of the NAR, which names the object
		return source.Err
	}
	return named(info, err)
}

func (s *session) uploadRequest(info nix.PathInfo, objects Objects) (fetch.Request, error) {
	about, err := json.Marshal(s.about(info))
	if err != nil {
		return fetch.Request{}, err
	}
	r := s.request(http.MethodPut, "upload-path")
	r.Header.Set("Content-Type", "application/octet-stream")
	preamble := ""
	if len(about) < maxHeader && plain(string(about)) {
		r.Header.Set(narInfoHeader, string(about))
	} else {
		preamble = string(about)
		r.Header.Set(preambleHeader, strconv.Itoa(len(about)))
	}
	r.Size = int64(len(preamble)) + info.NarSize
	r.Body = func(ctx context.Context) (io.ReadCloser, error) {
		src, err := openNAR(ctx, objects, info)
		if err != nil {
			return nil, err
		}
		return &following{io.MultiReader(strings.NewReader(preamble), src), src}, nil
	}
	return r, nil
}

func (s *session) about(info nix.PathInfo) narInfo {
	about := narInfo{
		Cache:         s.Cache,
		StorePathHash: info.Path.Digest(),
		StorePath:     info.Path.String(),
		References:    []string{},
		Sigs:          []string{},
		NarHash:       "sha256:" + info.NarHash.Base16(),
		NarSize:       info.NarSize,
	}
	for _, ref := range info.References {
		about.References = append(about.References, ref.Base())
	}
	for _, sig := range info.Sigs {
		about.Sigs = append(about.Sigs, sig.String())
	}
	if info.CA != "" {
		about.CA = &info.CA
	}
	return about
}

// following is a NAR behind a preamble.
type following struct {
	io.Reader
	io.Closer
}

// plain reports whether a text can be a header's value everywhere.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}
