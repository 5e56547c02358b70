package pin

// devcontainer reads a devcontainer.json, which is JSON with comments and with
// commas behind the last of a list.
func devcontainer(text []byte, o Options) ([]Spot, error) {
	root, err := parseJSON(withoutComments(text))
	if err != nil {
		return nil, err
	}
	image := root.get("image")
	if image == nil || !image.isString {
		return nil, nil
	}
	var spots []Spot
	if t, plain := image.traced(); plain {
		if spot, found := imageSpot(t, o); found {
			spots = append(spots, spot)
		}
	} else if _, found := imageSpot(traced{text: image.text, at: make([]int, len(image.text))}, o); found {
		spots = append(spots, Spot{What: "image", Left: isEscaped})
	}
	for i := range spots {
		spots[i].Line = image.line()
	}
	return spots, nil
}

// withoutComments has spaces in the place of what JSON does not allow, so that all
// that stays is where it was.
func withoutComments(text []byte) []byte {
	out := make([]byte, len(text))
	copy(out, text)
	comma := -1 // the last one, while nothing follows but space
	for i := 0; i < len(out); {
		switch end := commentEnd(out, i); {
		case end > i:
			for ; i < end; i++ {
				if out[i] != '\n' {
					out[i] = ' '
				}
			}
			continue
		case out[i] == '"':
			i = stringEnd(out, i)
			comma = -1
			continue
		case out[i] == ',':
			comma = i
		case (out[i] == '}' || out[i] == ']') && comma >= 0:
			out[comma] = ' '
			comma = -1
		case out[i] != ' ' && out[i] != '\t' && out[i] != '\r' && out[i] != '\n':
			comma = -1
		}
		i++
	}
	return out
}

// commentEnd is where a comment that begins at i ends; i if none does.
func commentEnd(text []byte, i int) int {
	if i+1 >= len(text) || text[i] != '/' {
		return i
	}
	switch text[i+1] {
	case '/':
		for i < len(text) && text[i] != '\n' {
			i++
		}
	case '*':
		for i += 2; i < len(text); i++ {
			if text[i] == '*' && i+1 < len(text) && text[i+1] == '/' {
				return i + 2
			}
		}
	}
	return i
}

// stringEnd is behind the string that begins at i.
func stringEnd(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"', '\n':
			return i + 1
		}
	}
	return len(text)
}
