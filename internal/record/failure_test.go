package record

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nixpkgs-factory/factory/internal/git"
	"github.com/nixpkgs-factory/factory/internal/git/gittest"
)

// rev is a revision of one digit, repeated; that of none is none.
func rev(digit string) git.Rev {
	if digit == "" {
		return git.Rev{}
	}
	return gittest.Rev(digit)
}

func TestFail(t *testing.T) {
	s := openTemp(t)
	steps := []struct {
		name, rev string
		minute    int
		count     int
		wait      time.Duration
	}{
		{"first", "1", 0, 1, 2 * time.Minute},
		{"again", "1", 2, 2, 4 * time.Minute},
		{"and again", "1", 6, 3, 8 * time.Minute},
		{"another revision", "2", 14, 1, 2 * time.Minute},
		{"no revision", "", 16, 1, 2 * time.Minute},
		{"no revision again", "", 18, 2, 4 * time.Minute},
		{"the first one once more", "1", 20, 4, 16 * time.Minute},
		{"the other one once more", "2", 22, 2, 4 * time.Minute},
	}
	for _, step := range steps {
		at := epoch.Add(time.Duration(step.minute) * time.Minute)
		want := Failure{Subject: of("c"), Rev: rev(step.rev), Error: step.name, Count: step.count, Time: at, Next: at.Add(step.wait)}
		got, err := s.Fail(of("c"), rev(step.rev), step.name, at.In(time.FixedZone("", 3600)))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: Fail: %v (-want +got):\n%s", step.name, err, diff)
		}
		stored, err := s.Failure(of("c"), rev(step.rev))
		if diff := cmp.Diff(&want, stored); err != nil || diff != "" {
			t.Errorf("%s: Failure: %v (-want +got):\n%s", step.name, err, diff)
		}
	}
	if _, err := s.Fail(of("b"), rev("1"), "x", epoch); err != nil {
		t.Fatal(err)
	}
	all, err := s.Failures()
	var names []string
	for _, f := range all {
		names = append(names, f.Channel+" "+f.Rev.Short(1))
	}
	if diff := cmp.Diff([]string{"b 1", "c ", "c 1", "c 2"}, names); err != nil || diff != "" {
		t.Errorf("Failures: %v (-want +got):\n%s", err, diff)
	}
	events, err := s.History(of("c"), 2)
	want := []Event{
		{Time: epoch.Add(22 * time.Minute), Subject: of("c"), Rev: rev("2"), Error: "the other one once more"},
		{Time: epoch.Add(20 * time.Minute), Subject: of("c"), Rev: rev("1"), Error: "the first one once more"},
	}
	if diff := cmp.Diff(want, events); err != nil || diff != "" {
		t.Errorf("History: %v (-want +got):\n%s", err, diff)
	}
}

func TestSuccessEndsFailure(t *testing.T) {
	s := openTemp(t)
	for _, channel := range []string{"a", "b"} {
		if _, err := s.Fail(of(channel), rev("a"), "no", epoch); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Record([]Publication{publication("a", "r:1", 1)}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Failures()
	if err != nil || len(all) != 1 || all[0].Channel != "b" {
		t.Errorf("Failures = %+v, %v, want that of b alone", all, err)
	}
	if f, err := s.Fail(of("a"), rev("a"), "no", epoch); err != nil || f.Count != 1 {
		t.Errorf("Fail after a success = %+v, %v, want count 1", f, err)
	}
}

// What nobody will try again is no failure any more; another channel's failures
// are its own.
func TestConcerns(t *testing.T) {
	s := openTemp(t)
	for _, f := range []struct{ channel, rev string }{{"a", ""}, {"a", "1"}, {"a", "2"}, {"aa", "1"}, {"b", "2"}} {
		if _, err := s.Fail(of(f.channel), rev(f.rev), "no", epoch); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct{ keep, want []string }{
		{[]string{"", "1", "2", "3"}, []string{"a ", "a 1", "a 2", "aa 1", "b 2"}},
		{[]string{"2"}, []string{"a 2", "aa 1", "b 2"}},
		{nil, []string{"aa 1", "b 2"}},
	} {
		keep := func(f Failure) bool {
			return slices.ContainsFunc(step.keep, func(digits string) bool { return f.Rev == rev(digits) })
		}
		if err := s.Concerns("a", keep); err != nil {
			t.Fatal(err)
		}
		all, err := s.Failures()
		var got []string
		for _, f := range all {
			got = append(got, f.Channel+" "+f.Rev.Short(1))
		}
		if diff := cmp.Diff(step.want, got); err != nil || diff != "" {
			t.Errorf("only %q concern: %v (-want +got):\n%s", step.keep, err, diff)
		}
	}
}

// Images of one channel fail, and are well again, each by itself.
func TestSubjects(t *testing.T) {
	s := openTemp(t)
	base, slim := Subject{"c", "base"}, Subject{"c", "slim"}
	for _, subject := range []Subject{base, slim, slim} {
		if _, err := s.Fail(subject, rev("1"), "no", epoch); err != nil {
			t.Fatal(err)
		}
	}
	if f, err := s.Failure(slim, rev("1")); err != nil || f.Count != 2 {
		t.Errorf("slim: %+v, %v, want 2 failures", f, err)
	}
	p := publication("c", "r:1", 1)
	p.Rev = rev("1")
	if err := s.Record([]Publication{p}); err != nil {
		t.Fatal(err)
	}
	if f, err := s.Failure(base, rev("1")); err != nil || f != nil {
		t.Errorf("base: %+v, %v, want it to be well", f, err)
	}
	if f, err := s.Failure(slim, rev("1")); err != nil || f == nil {
		t.Errorf("slim: %+v, %v, want it to fail still", f, err)
	}
	if got, err := s.Publication(slim, "r:1"); err != nil || got != nil {
		t.Errorf("what base has is slim's: %+v, %v", got, err)
	}
	for _, want := range []struct {
		of Subject
		n  int
	}{{Subject{}, 4}, {base, 2}, {slim, 2}, {Subject{Channel: "c"}, 4}, {Subject{ImageName: "slim"}, 2}, {Subject{Channel: "d"}, 0}} {
		if events, err := s.History(want.of, 0); err != nil || len(events) != want.n {
			t.Errorf("History(%v) = %d events, %v, want %d", want.of, len(events), err, want.n)
		}
	}
}

func TestWait(t *testing.T) {
	for count, want := range map[int]time.Duration{
		0: FirstWait, 1: 2 * time.Minute, 2: 4 * time.Minute, 8: 256 * time.Minute, 9: LongestWait, 1 << 40: LongestWait,
	} {
		if got := wait(count); got != want {
			t.Errorf("wait(%d) = %v, want %v", count, got, want)
		}
	}
}

func TestLongError(t *testing.T) {
	s := openTemp(t)
	f, err := s.Fail(of("c"), rev("a"), "é"+strings.Repeat("ß", maxError), epoch)
	if err != nil {
		t.Fatal(err)
	}
	if want := "é" + strings.Repeat("ß", maxError/2-1) + "…"; f.Error != want {
		t.Errorf("kept %d bytes of the error, want %d", len(f.Error), len(want))
	}
	if f, err = s.Fail(of("c"), rev("a"), "a\xffb", epoch); err != nil || f.Error != "a\ufffdb" {
		t.Errorf("error %q, %v, want a\ufffdb", f.Error, err)
	}
}
