package plan

import "testing"

func TestFill(t *testing.T) {
	const recipe = "sha256:now"
	here := Published{Found: true, Digest: digest("1"), Recipe: recipe}
	older := Published{Found: true, Digest: digest("0"), Recipe: "sha256:then"}
	for name, tt := range map[string]struct {
		published []Published
		action    Action
		reason    Reason
	}{
		"nowhere":                 {[]Published{{}, {}}, Build, Backfill},
		"in one of two":           {[]Published{here, {}}, Build, Backfill},
		"everywhere":              {[]Published{here, here}, None, UpToDate},
		"by an older recipe":      {[]Published{older, older}, None, UpToDate},
		"older, and not in other": {[]Published{older, {}}, None, UpToDate},
	} {
		job := Fill(Channel{Name: "c", Recipe: recipe, Images: []string{"a", "b"}, Published: tt.published})
		if job.Err != nil || job.Action != tt.action || job.Reason != tt.reason {
			t.Errorf("%s: Fill() = %s, %q, %v, want %s, %q", name, job.Action, job.Reason, job.Err, tt.action, tt.reason)
		}
	}
}
