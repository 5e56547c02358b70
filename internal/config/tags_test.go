package config

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

func TestTags(t *testing.T) {
	const rev = "0123456789abcdef0123456789abcdef01234567"
	// Still the day before in UTC.
	date := time.Date(2026, 6, 1, 1, 30, 0, 0, time.FixedZone("", 2*60*60))
	tests := []struct {
		name, version   string
		templates, want []string
	}{
		{"none", "26.05", nil, nil},
		{"plain", "26.05", []string{"latest", "Edge_1.0"}, []string{"latest", "Edge_1.0"}},
		{"shortest and longest revision", "26.05", []string{"{rev:7}", "{rev:39}"}, []string{"0123456", rev[:39]}},
		{"revision in a longer tag", "26.05", []string{"at-{rev}"}, []string{"at-" + rev}},
		{"date in UTC", "26.05", []string{"{date}"}, []string{"20260531"}},
		{"several in one", "26.05", []string{"{version}.{date}.{rev:12}"}, []string{"26.05.20260531.0123456789ab"}},
		{"one twice", "26.05", []string{"{rev:7}_{rev:7}"}, []string{"0123456_0123456"}},
		{"version not known", "", []string{"v{version}", "latest", "{version}-{date}"}, []string{"latest"}},
		{"same tag", "26.05", []string{"26.05", "{version}", "latest", "{version}"}, []string{"26.05", "latest"}},
		{"version that is no tag", "26.05 beta", []string{"{version}", "{date}"}, []string{"20260531"}},
		{"version that makes a revision", "abcdef01", []string{"{rev:32}{version}", "{rev:7}"}, []string{"0123456"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, template := range tt.templates {
				if err := checkTemplate(template); err != nil {
					t.Errorf("checkTemplate(%q): %v", template, err)
				}
			}
			got := Tags{Templates: tt.templates}.For(TagValues{Rev: gittest.Rev(rev), Date: date, Version: tt.version})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("For (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTagErrors(t *testing.T) {
	const want = ` (want at most 128 of A-Z a-z 0-9 _ . -, not beginning with . or -, or a template such as "{date}-{rev:12}")`
	tests := []struct{ template, want string }{
		{"{rev}", `bad tag "{rev}": the revision is a tag of every image` + want},
		{"{rev:6}", `bad tag "{rev:6}": bad placeholder "{rev:6}" (want {rev:7} to {rev:39})`},
		{"{rev:40}", `bad tag "{rev:40}": bad placeholder "{rev:40}" (want {rev:7} to {rev:39})`},
		{"{rev:07}", `bad tag "{rev:07}": bad placeholder "{rev:07}" (want {rev:7} to {rev:39})`},
		{"{rev:+7}", `bad tag "{rev:+7}": bad placeholder "{rev:+7}" (want {rev:7} to {rev:39})`},
		{"{rev:}", `bad tag "{rev:}": bad placeholder "{rev:}" (want {rev:7} to {rev:39})`},
		{"{rev:99999999999999999999}", `bad tag "{rev:99999999999999999999}": bad placeholder "{rev:99999999999999999999}" (want {rev:7} to {rev:39})`},
		{"x-{sha}-{y}", `bad tag "x-{sha}-{y}": unknown placeholder "{sha}" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{Date}", `bad tag "{Date}": unknown placeholder "{Date}" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{date:2006}", `bad tag "{date:2006}": unknown placeholder "{date:2006}" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{ date }", `bad tag "{ date }": unknown placeholder "{ date }" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{}", `bad tag "{}": unknown placeholder "{}" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{\n}", `bad tag "{\n}": unknown placeholder "{\n}" (want {rev:12}, {date}, {version} or {digest:12})`},
		{"{date", `bad tag "{date"` + want},
		{"date}", `bad tag "date}"` + want},
		{"{{date}}", `bad tag "{{date}}"` + want},
		{"${date}", `bad tag "${date}"` + want},
		{"-{date}", `bad tag "-{date}"` + want},
		{"{rev}{rev}{rev}{rev}", `bad tag "{rev}{rev}{rev}{rev}"` + want},
		{"{rev:39}a", `bad tag "{rev:39}a": looks like a revision, whose tag never moves` + want},
		{"{rev:32}{date}", `bad tag "{rev:32}{date}": looks like a revision, whose tag never moves` + want},
	}
	for _, tt := range tests {
		t.Run(tt.template, func(t *testing.T) {
			if _, err := tag.read(tt.template); err == nil || err.Error() != tt.want {
				t.Errorf("tag %q:\n got %v\nwant %s", tt.template, err, tt.want)
			}
		})
	}
}
