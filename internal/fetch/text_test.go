package fetch

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"unicode"
)

// A server may send anything where a client looks; no error repeats much of it.
func TestTextOfOthersIsShort(t *testing.T) {
	loud := "\x1b[31m" + strings.Repeat("x", 10_000)
	raw := func(answer string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(conn, answer)
		}
	}
	for name, handler := range map[string]http.HandlerFunc{
		"status line": raw("HTTP/1.1 " + loud + "\r\n\r\n"),
		"header":      raw("HTTP/1.1 200 OK\r\n" + loud + "\r\n\r\n"),
		"length":      raw("HTTP/1.1 200 OK\r\nContent-Length: " + loud + "\r\n\r\n"),
		"encoding":    raw("HTTP/1.1 200 OK\r\nContent-Encoding: " + strings.Repeat("x", 10_000) + "\r\n\r\nx"),
		"location":    raw("HTTP/1.1 302 Found\r\nLocation: http://%" + strings.Repeat("x", 10_000) + "\r\n\r\n"),
		"scheme":      raw("HTTP/1.1 302 Found\r\nLocation: " + strings.Repeat("x", 10_000) + "://\r\n\r\n"),
		"no HTTP":     raw(loud),
	} {
		t.Run(name, func(t *testing.T) {
			url, _ := serve(t, handler)
			_, err := quick(t).Get(t.Context(), url, 1<<20)
			text := fmt.Sprint(err)
			if err == nil || len(text) > 500 || strings.ContainsFunc(text, unicode.IsControl) {
				t.Errorf("%d bytes: %q", len(text), text[:min(len(text), 1000)])
			}
		})
	}
}
