package pin

// traced is text of which each byte knows where in the file it stands, so that a
// value that was put together of several parts can be changed in each of them.
type traced struct {
	text string
	at   []int
	from int // where it stands while it is empty
}

// trace is the text of a file from start to end.
func trace(file []byte, start, end int) traced {
	t := traced{text: string(file[start:end]), at: make([]int, end-start), from: start}
	for i := range t.at {
		t.at[i] = start + i
	}
	return t
}

func (t *traced) add(more traced) {
	t.text += more.text
	t.at = append(t.at, more.at...)
}

func (t traced) slice(i, j int) traced { return traced{text: t.text[i:j], at: t.at[i:j]} }

// span is where a part stands in the file, if it stands there in one piece.
func (t traced) span(i, j int) (start, end int, ok bool) {
	switch {
	case t.text == "":
		return t.from, t.from, true
	case i == j && i == 0:
		return t.at[0], t.at[0], true
	case i == j:
		return t.at[i-1] + 1, t.at[i-1] + 1, true
	}
	for k := i + 1; k < j; k++ {
		if t.at[k] != t.at[k-1]+1 {
			return 0, 0, false
		}
	}
	return t.at[i], t.at[j-1] + 1, true
}

// field is a part as a field of a spot.
func (t traced) field(what kind, i, j int) (field, bool) {
	start, end, ok := t.span(i, j)
	return field{kind: what, start: start, end: end, old: t.text[i:j]}, ok
}
