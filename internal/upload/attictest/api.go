package attictest

import (
	"encoding/json"
	"net/http"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (s *Server) cacheConfig(w http.ResponseWriter, r *http.Request) {
	cache := r.PathValue("cache")
	if !s.allow(w, r, cache, Pull) {
		return
	}
	config := map[string]any{
		"substituter_endpoint":     s.Substituter(),
		"public_key":               s.PublicKey().String(),
		"is_public":                s.options.Public,
		"store_dir":                nix.StoreDir,
		"priority":                 41,
		"upstream_cache_key_names": s.options.Upstream,
		"retention_period":         "Global",
	}
	s.mu.Lock()
	if s.api != "" {
		config["api_endpoint"] = s.api
	}
	s.mu.Unlock()
	answer(w, config)
}

func (s *Server) missingPaths(w http.ResponseWriter, r *http.Request) {
	var question struct {
		Cache  string   `json:"cache"`
		Hashes []string `json:"store_path_hashes"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&question); err != nil {
		bad(w, "%v", err)
		return
	}
	if r.Header.Get("Content-Type") != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "RequestError", "Expected request with `Content-Type: application/json`")
		return
	}
	if !s.allow(w, r, question.Cache, Push) {
		return
	}
	missing := []string{}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hash := range question.Hashes {
		if _, err := nix.ParseStorePathBase(hash + "-x"); err != nil {
			bad(w, "Invalid store path hash %q", hash)
			return
		}
		if _, ok := s.objects[hash]; !ok {
			missing = append(missing, hash)
		}
	}
	answer(w, map[string]any{"missing_paths": missing})
}
