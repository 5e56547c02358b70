package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
)

// SignatureHeader is the header that a receiver looks for the signature in.
const SignatureHeader = "X-Factory-Signature-256"

// Sign returns the signature of a body, "sha256=" and the HMAC-SHA256 in
// lower-case hex (RFC 2104): the form that GitHub's webhooks have, so that
// receivers of those can be used.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}
