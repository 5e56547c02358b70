package nix

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// NARInfo is what a binary cache says of a store object: its PathInfo, and where its NAR is.
type NARInfo struct {
	PathInfo
	URL         string // absolute, or relative to the root of the cache
	Compression string // "xz", "none", …; "bzip2" when the file does not say
	FileHash    string // of the compressed NAR, as written, with its algorithm; "" if unknown
	FileSize    int64  // bytes of the compressed NAR; 0 if unknown
}

// ParseNARInfo reads a narinfo file. It refuses whatever Nix refuses, and also
// repeated fields, blank lines and lines without "key: value", in which versions of Nix differ.
// Keys it does not know, and signatures that are none, it passes over.
// Who vouches for the content is for PathInfo.Trusted to say.
func ParseNARInfo(data []byte) (NARInfo, error) {
	var info NARInfo
	seen := map[string]bool{}
	text := string(data)
	for n := 1; text != ""; n++ {
		line, rest, complete := strings.Cut(text, "\n")
		if !complete {
			return NARInfo{}, fmt.Errorf("narinfo: line %d: no newline at the end", n)
		}
		text = rest
		key, value, ok := strings.Cut(line, ": ")
		if !ok || strings.Contains(key, ":") {
			return NARInfo{}, fmt.Errorf("narinfo: line %d: not \"key: value\"", n)
		}
		if strings.HasSuffix(value, "\r") {
			return NARInfo{}, fmt.Errorf("narinfo: line %d: carriage return", n)
		}
		if seen[key] && key != "Sig" {
			return NARInfo{}, fmt.Errorf("narinfo: line %d: a second %s", n, key)
		}
		known, err := info.setField(key, value)
		if err != nil {
			return NARInfo{}, fmt.Errorf("narinfo: line %d: %s: %w", n, key, err)
		}
		seen[key] = known
	}
	for _, key := range []string{"StorePath", "URL", "NarHash", "NarSize"} {
		if !seen[key] {
			return NARInfo{}, fmt.Errorf("narinfo: no %s", key)
		}
	}
	if info.Compression == "" {
		info.Compression = "bzip2"
	}
	info.Sigs = sortedSigs(info.Sigs)
	return info, nil
}

// setField stores the value of a field and reports whether it knows the key.
func (n *NARInfo) setField(key, value string) (known bool, err error) {
	switch key {
	case "StorePath":
		n.Path, err = ParseStorePath(value)
	case "URL":
		n.URL, err = value, checkURL(value)
	case "Compression":
		n.Compression = value
	case "FileHash":
		n.FileHash = value
		if _, _, err = parseTypedHash(value); err != nil {
			err = fmt.Errorf("hash %q: %w", value, err)
		}
	case "FileSize":
		n.FileSize, err = parseSize(value)
	case "NarHash":
		if !strings.ContainsAny(value, ":-") {
			return true, fmt.Errorf("hash %q: no algorithm in front", value)
		}
		n.NarHash, err = ParseHash(value)
	case "NarSize":
		if n.NarSize, err = parseSize(value); err == nil && n.NarSize == 0 {
			err = fmt.Errorf("no NAR has 0 bytes")
		}
	case "References":
		n.References, err = parseReferences(value)
	case "Deriver":
		if value != "unknown-deriver" {
			n.Deriver, err = ParseStorePathBase(value)
		}
	case "Sig":
		if sig, err := ParseSignature(value); err == nil {
			n.Sigs = append(n.Sigs, sig)
		}
	case "CA":
		n.CA, err = normalCA(value)
	default:
		return false, nil
	}
	return true, err
}

func checkURL(url string) error {
	if url == "" {
		return fmt.Errorf("empty")
	}
	if strings.ContainsFunc(url, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return fmt.Errorf("space or control character in %q", url)
	}
	return nil
}

func parseSize(s string) (int64, error) {
	size, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number of bytes", s)
	}
	return int64(size), nil
}

func parseReferences(s string) ([]StorePath, error) {
	var refs []StorePath
	for base := range strings.SplitSeq(s, " ") {
		if base == "" {
			continue
		}
		ref, err := ParseStorePathBase(base)
		if err != nil {
			return nil, err
		}
		refs = append(refs, ref)
	}
	return sortedPaths(refs), nil
}

// normalCA rewrites a content address with its hash in base 32, as Nix stores it.
func normalCA(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	ca, err := ParseContentAddress(s)
	if err != nil {
		return "", err
	}
	return ca.String(), nil
}

// sortedSigs returns signatures in the order of their texts, each once, as Nix keeps them.
func sortedSigs(sigs []Signature) []Signature {
	sigs = slices.Clone(sigs)
	slices.SortFunc(sigs, func(a, b Signature) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(sigs)
}

// MarshalText writes a narinfo file, with the fields in Nix's order.
func (n NARInfo) MarshalText() ([]byte, error) {
	var b bytes.Buffer
	lines := 0
	line := func(key, value string) {
		b.WriteString(key + ": " + value + "\n")
		lines++
	}
	line("StorePath", n.Path.String())
	line("URL", n.URL)
	if n.Compression != "" {
		line("Compression", n.Compression)
	}
	if n.FileHash != "" {
		line("FileHash", n.FileHash)
	}
	if n.FileSize != 0 {
		line("FileSize", strconv.FormatInt(n.FileSize, 10))
	}
	line("NarHash", n.NarHash.String())
	line("NarSize", strconv.FormatInt(n.NarSize, 10))
	var refs []string
	for _, ref := range sortedPaths(n.References) {
		refs = append(refs, ref.Base())
	}
	line("References", strings.Join(refs, " "))
	if !n.Deriver.IsZero() {
		line("Deriver", n.Deriver.Base())
	}
	for _, sig := range sortedSigs(n.Sigs) {
		line("Sig", sig.String())
	}
	if n.CA != "" {
		line("CA", n.CA)
	}
	if bytes.Count(b.Bytes(), []byte("\n")) != lines {
		return nil, fmt.Errorf("narinfo: a field of %q holds a newline", n.Path)
	}
	// Reading it back finds what is missing or malformed.
	if _, err := ParseNARInfo(b.Bytes()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
