package diff

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Setting is something of how a container runs. Lists are as in JSON; null is
// what an image does not set.
type Setting struct {
	Name string  `json:"name"` // "entrypoint", or "env PATH"
	From *string `json:"from"`
	To   *string `json:"to"`
}

func settings(a, b v1.Config) []Setting {
	had, has := settingsOf(a), settingsOf(b)
	list := []Setting{}
	for name, value := range had {
		s := Setting{Name: name, From: &value}
		if other, there := has[name]; there {
			s.To = &other
		}
		if s.To == nil || value != *s.To {
			list = append(list, s)
		}
	}
	for name, value := range has {
		if _, there := had[name]; !there {
			list = append(list, Setting{Name: name, To: &value})
		}
	}
	slices.SortFunc(list, func(x, y Setting) int { return cmp.Compare(x.Name, y.Name) })
	return list
}

func settingsOf(c v1.Config) map[string]string {
	found := map[string]string{"user": c.User, "workingDir": c.WorkingDir, "stopSignal": c.StopSignal}
	for name, list := range map[string][]string{
		"entrypoint": c.Entrypoint, "cmd": c.Cmd, "shell": c.Shell,
		"ports": slices.Sorted(maps.Keys(c.ExposedPorts)), "volumes": slices.Sorted(maps.Keys(c.Volumes)),
	} {
		if len(list) > 0 {
			found[name] = asJSON(list)
		}
	}
	if c.Healthcheck != nil {
		found["healthcheck"] = asJSON(c.Healthcheck)
	}
	maps.DeleteFunc(found, func(_, value string) bool { return value == "" })
	for _, line := range c.Env {
		name, value, _ := strings.Cut(line, "=")
		found["env "+name] = value // may be empty, and is set all the same
	}
	return found
}

func asJSON(v any) string {
	text, _ := json.Marshal(v) // strings and numbers
	return string(text)
}
