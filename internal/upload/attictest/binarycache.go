package attictest

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nixpkgs-factory/factory/internal/nix"
)

func (s *Server) cacheInfo(w http.ResponseWriter, r *http.Request) {
	if s.allow(w, r, r.PathValue("cache"), Pull) {
		w.Header().Set("Content-Type", "text/x-nix-cache-info")
		fmt.Fprintf(w, "StoreDir: %s\nWantMassQuery: 1\nPriority: 41\n", nix.StoreDir)
	}
}

// object finds what a request is about.
func (s *Server) object(w http.ResponseWriter, r *http.Request, suffix string) (nix.NARInfo, bool) {
	if !s.allow(w, r, r.PathValue("cache"), Pull) {
		return nix.NARInfo{}, false
	}
	digest, ok := strings.CutSuffix(r.PathValue("file"), suffix)
	s.mu.Lock()
	defer s.mu.Unlock()
	object, known := s.objects[digest]
	if !ok || !known {
		refuse(w, http.StatusNotFound, "NoSuchObject", "The requested object does not exist.")
	}
	return object, ok && known
}

func (s *Server) narInfo(w http.ResponseWriter, r *http.Request) {
	object, ok := s.object(w, r, ".narinfo")
	if !ok {
		return
	}
	text, err := object.MarshalText()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "InternalServerError", err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/x-nix-narinfo")
	w.Write(text)
}

func (s *Server) nar(w http.ResponseWriter, r *http.Request) {
	object, ok := s.object(w, r, ".nar")
	if !ok {
		return
	}
	s.mu.Lock()
	stored := s.nars[object.NarHash]
	s.mu.Unlock()
	http.ServeFile(w, r, stored.file)
}
