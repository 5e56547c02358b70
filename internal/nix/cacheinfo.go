package nix

import (
	"fmt"
	"strconv"
	"strings"
)

// CacheInfo is what the file nix-cache-info says of a binary cache.
type CacheInfo struct {
	StoreDir      string // "" if the file does not say; a cache for another folder than ours is of no use
	WantMassQuery bool   // the cache is quick to say what it does not have
	Priority      int    // lower is asked first; 0 if the file does not say
}

// ParseCacheInfo reads nix-cache-info. Lines that are not "key: value", and unknown keys, it passes over.
func ParseCacheInfo(data []byte) (CacheInfo, error) {
	var info CacheInfo
	n := 0
	for line := range strings.SplitSeq(string(data), "\n") {
		n++
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "StoreDir":
			info.StoreDir = value
		case "WantMassQuery":
			info.WantMassQuery = value == "1"
		case "Priority":
			priority, err := strconv.Atoi(value)
			if err != nil {
				return CacheInfo{}, fmt.Errorf("nix-cache-info: line %d: Priority: %q is not a number", n, value)
			}
			info.Priority = priority
		}
	}
	return info, nil
}
