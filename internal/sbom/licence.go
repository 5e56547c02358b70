package sbom

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// licensing gathers the licences that the document has to say itself.
type licensing struct {
	own map[string]extracted
}

// identifier is one of a licence in SPDX. Exceptions have identifiers, too, and are
// no licences by themselves; nixpkgs lists one among them.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+-]*$`)

// expression says all licences of a package. Which of several may be chosen nixpkgs
// does not say, so all of them hold.
func (l *licensing) expression(all []Licence) string {
	var ids []string
	for _, one := range all {
		id := l.id(one)
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return none
	}
	return strings.Join(ids, " AND ")
}

// id is the identifier of a licence, "" of one without a name.
func (l *licensing) id(one Licence) string {
	if identifier.MatchString(one.SPDX) && !strings.HasSuffix(one.SPDX, "-exception") {
		return one.SPDX
	}
	name := cmp.Or(one.Name, one.SPDX, one.Full)
	safe := strings.Trim(notInIDs.ReplaceAllString(name, "-"), "-.")
	if safe == "" {
		return ""
	}
	id := "LicenseRef-nixpkgs-" + safe
	if l.own == nil {
		l.own = make(map[string]extracted)
	}
	if _, ok := l.own[id]; !ok {
		own := extracted{ID: id, Name: cmp.Or(one.Full, name), Text: "nixpkgs names this licence and has no text of it: " + cmp.Or(one.Full, name)}
		if at := address(one.URL); at != "" {
			own.See = []string{at}
		}
		l.own[id] = own
	}
	return id
}

var notInIDs = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

// extracted are the licences without an identifier in SPDX, in order.
func (l *licensing) extracted() []extracted {
	var list []extracted
	for _, one := range l.own {
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b extracted) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
