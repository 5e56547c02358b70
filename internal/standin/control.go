package standin

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// ControlPath is where a running server is asked for, and told, its heads.
// GET answers a list of ChannelState, PUT <ControlPath>/<channel> takes a
// revision, or the word next, as its body and answers a ChannelState.
const ControlPath = "/_standin/channels"

// A ChannelState says where a channel is.
type ChannelState struct {
	Name string   `json:"name"`
	Head string   `json:"head"`
	Revs []string `json:"revs"` // oldest first
}

// ChannelStates says where all channels are.
func (s *Server) ChannelStates() []ChannelState {
	channels := s.fixture.Channels()
	var states []ChannelState
	for _, name := range channelNames() {
		state := ChannelState{Name: name, Head: s.Head(name)}
		for _, c := range channels[name] {
			state.Revs = append(state.Revs, c.Rev)
		}
		states = append(states, state)
	}
	return states
}

func (s *Server) routeControl(mux *http.ServeMux) {
	mux.HandleFunc("GET "+ControlPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(s.ChannelStates())
	})
	mux.HandleFunc("PUT "+ControlPath+"/{channel...}", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<10))
		channel, rev := r.PathValue("channel"), strings.TrimSpace(string(body))
		switch {
		case err != nil:
		case rev == "next":
			rev, err = s.NextHead(channel)
		default:
			err = s.SetHead(channel, rev)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(ChannelState{Name: channel, Head: rev})
	})
}
