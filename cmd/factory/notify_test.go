package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/config"
)

// A fork has no webhook until somebody gives it one: that is no reason to fail.
func TestWebhookWithoutAnAddress(t *testing.T) {
	c := config.Config{Notify: []config.Notify{{URLFrom: "MISSING", On: []string{"failed"}}, {URLFrom: "GIVEN"}}}
	var log bytes.Buffer
	a := &app{stderr: &log, logFormat: logText, env: func(key string) string {
		return map[string]string{"MISSING": " \n", "GIVEN": "http://127.0.0.1:1/"}[key]
	}}
	hooks, err := a.webhooks(c)
	if err != nil || hooks == nil || strings.Count(log.String(), "MISSING is not set") != 1 || strings.Contains(log.String(), "GIVEN") {
		t.Errorf("webhooks: %v\n%s", err, &log)
	}
}
