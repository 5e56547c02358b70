package heads

import "testing"

func TestGone(t *testing.T) {
	const channel = "nixos-26.05"
	for _, tt := range []struct {
		name string
		refs reply
		gone bool
		fail bool
	}{
		{"in the list", reply{body: `[{"ref": "refs/heads/nixos-26.05"}, {"ref": "refs/heads/nixos-26.05-small"}]`}, false, false},
		{"a longer name in the list", reply{body: `[{"ref": "refs/heads/nixos-26.05-small"}]`}, true, false},
		{"an empty list", reply{body: `[]`}, true, false},
		{"no list", reply{status: 404, body: `{"message": "Not Found"}`}, false, true},
		{"cannot be asked", reply{status: 500}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, map[string]reply{"/repos/NixOS/nixpkgs/git/matching-refs/heads/" + channel: tt.refs})
			gone, err := client(t, Options{API: s.URL}).Gone(t.Context(), channel)
			if gone != tt.gone || (err != nil) != tt.fail {
				t.Errorf("Gone = %t, %v, want %t, an error: %t", gone, err, tt.gone, tt.fail)
			}
		})
	}
}
