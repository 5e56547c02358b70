package archive

import (
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// described is what matters here of an image's configuration.
type described struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	RootFS       struct {
		DiffIDs []v1.Hash `json:"diff_ids"`
	} `json:"rootfs"`
}

// parseConfig reads the configuration of an image with a number of layers.
func parseConfig(config []byte, layers int) (v1.Platform, []v1.Hash, error) {
	var d described
	if err := json.Unmarshal(config, &d); err != nil {
		return v1.Platform{}, nil, err
	}
	if got := len(d.RootFS.DiffIDs); got != layers {
		return v1.Platform{}, nil, fmt.Errorf("the configuration has %d diffIDs, the manifest %d layers", got, layers)
	}
	return v1.Platform{OS: d.OS, Architecture: d.Architecture, Variant: d.Variant}, d.RootFS.DiffIDs, nil
}
