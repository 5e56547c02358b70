package nix

import (
	"fmt"
	"strings"
)

// base32Alphabet leaves out e, o, t and u.
const base32Alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

const notBase32 = 0xff

// base32Values maps a character to its value, or to notBase32.
var base32Values = func() (values [256]byte) {
	for i := range values {
		values[i] = notBase32
	}
	for i := range len(base32Alphabet) {
		values[base32Alphabet[i]] = byte(i)
	}
	return values
}()

func base32Len(size int) int { return (size*8 + 4) / 5 }

// EncodeBase32 writes bytes in Nix's own base 32:
// the bits are counted from the lowest bit of the first byte,
// taken in groups of five, and the last group is written first.
func EncodeBase32(src []byte) string {
	dst := make([]byte, base32Len(len(src)))
	for p := range dst {
		bit := 5 * (len(dst) - 1 - p)
		i, shift := bit/8, bit%8
		v := src[i] >> shift
		if i+1 < len(src) {
			v |= src[i+1] << (8 - shift)
		}
		dst[p] = base32Alphabet[v&31]
	}
	return string(dst)
}

// DecodeBase32 is the inverse of EncodeBase32.
// It accepts exactly the strings that EncodeBase32 can yield.
func DecodeBase32(s string) ([]byte, error) {
	dst := make([]byte, len(s)*5/8)
	if base32Len(len(dst)) != len(s) {
		return nil, fmt.Errorf("base32 %q: no data has a text of %d characters", s, len(s))
	}
	for p := range len(s) {
		v := base32Values[s[p]]
		if v == notBase32 {
			return nil, fmt.Errorf("base32 %q: bad character %q", s, s[p:p+1])
		}
		bit := 5 * (len(s) - 1 - p)
		i, shift := bit/8, bit%8
		dst[i] |= v << shift
		carry := v >> (8 - shift)
		if i+1 < len(dst) {
			dst[i+1] |= carry
		} else if carry != 0 {
			return nil, fmt.Errorf("base32 %q: bits set beyond the last byte", s)
		}
	}
	return dst, nil
}

// isBase32 reports whether s holds nothing but characters of the alphabet.
func isBase32(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return r > 0x7f || base32Values[byte(r)] == notBase32
	}) < 0
}
