package fetch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func countNew(n *atomic.Int32) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
}

// digits is a text in which every position looks different.
func digits(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

// cutOff announces a whole body and sends the start of it.
func cutOff(w http.ResponseWriter, body string, sent int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	io.WriteString(w, body[:sent])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// cutChunked does the same without announcing a length.
func cutChunked(w http.ResponseWriter, body string) {
	w.(http.Flusher).Flush()
	io.WriteString(w, body)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func TestResume(t *testing.T) {
	const size, cut = 1000, 400
	text := digits(size)
	other := strings.ToUpper(text) + "!"
	partial := func(w http.ResponseWriter, contentRange string) {
		w.Header().Set("Content-Range", contentRange)
		w.WriteHeader(http.StatusPartialContent)
		io.WriteString(w, text[cut:])
	}
	const right = "bytes 400-999/1000"
	header := func(key, value string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.Header().Set(key, value) }
	}
	etag := header("ETag", `"1"`)
	date := header("Last-Modified", "Sat, 02 May 2026 10:00:00 GMT")
	bare := func(http.ResponseWriter) {}

	tests := []struct {
		name    string
		version func(http.ResponseWriter) // headers of the first answer
		chunked bool
		again   func(w http.ResponseWriter, r *http.Request) // the second answer
		ifRange string
		err     error // nil: the text arrives
	}{
		{name: "range with a tag", version: etag, ifRange: `"1"`, again: func(w http.ResponseWriter, r *http.Request) {
			etag(w)
			partial(w, right)
		}},
		{name: "range with a date", version: date, ifRange: "Sat, 02 May 2026 10:00:00 GMT", again: func(w http.ResponseWriter, r *http.Request) {
			date(w)
			partial(w, right)
		}},
		{name: "range with a weak tag", version: header("ETag", `W/"1"`), again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `W/"1"`)
			partial(w, right)
		}},
		{name: "range without validator", version: bare, again: func(w http.ResponseWriter, r *http.Request) { partial(w, right) }},
		{name: "range of unknown total", version: bare, again: func(w http.ResponseWriter, r *http.Request) { partial(w, "bytes 400-999/*") }},
		{name: "range, chunked", version: bare, chunked: true, again: func(w http.ResponseWriter, r *http.Request) { partial(w, right) }},
		{name: "range that starts elsewhere", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			partial(w, "bytes 399-999/1000")
		}},
		{name: "range of another total", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			partial(w, "bytes 400-999/1001")
		}},
		{name: "range of another tag", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"2"`)
			partial(w, right)
		}},
		{name: "range of another date", version: date, ifRange: "Sat, 02 May 2026 10:00:00 GMT", err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", "Sat, 02 May 2026 11:00:00 GMT")
			partial(w, right)
		}},
		{name: "range without header", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
		}},
		{name: "whole, same tag", version: etag, ifRange: `"1"`, again: func(w http.ResponseWriter, r *http.Request) {
			etag(w)
			io.WriteString(w, text)
		}},
		{name: "whole, same tag, chunked", version: etag, chunked: true, ifRange: `"1"`, again: func(w http.ResponseWriter, r *http.Request) {
			etag(w)
			w.(http.Flusher).Flush()
			io.WriteString(w, text)
		}},
		{name: "whole, other tag", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"2"`)
			io.WriteString(w, text)
		}},
		{name: "whole, tag gone", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, text)
		}},
		{name: "whole, same tag, other length", version: etag, ifRange: `"1"`, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			etag(w)
			io.WriteString(w, other)
		}},
		{name: "whole, other date", version: date, ifRange: "Sat, 02 May 2026 10:00:00 GMT", err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Last-Modified", "Sat, 02 May 2026 11:00:00 GMT")
			io.WriteString(w, text)
		}},
		{name: "whole, same length", version: bare, again: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, text) }},
		{name: "whole, other length", version: bare, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, other) }},
		{name: "whole, nothing to compare", version: bare, chunked: true, err: ErrChanged, again: func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			io.WriteString(w, text)
		}},
		{name: "gone", version: etag, ifRange: `"1"`, err: io.ErrUnexpectedEOF, again: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }},
		{name: "not that long", version: etag, ifRange: `"1"`, err: io.ErrUnexpectedEOF, again: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes */300")
			w.WriteHeader(416)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var n atomic.Int32
			url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) > 1 {
					if got := r.Header.Get("Range"); got != "bytes=400-" {
						t.Errorf("Range: %q", got)
					}
					if got := r.Header.Get("If-Range"); got != tt.ifRange {
						t.Errorf("If-Range: %q, want %q", got, tt.ifRange)
					}
					tt.again(w, r)
					return
				}
				tt.version(w)
				if tt.chunked {
					cutChunked(w, text[:cut])
				}
				cutOff(w, text, cut)
			})
			body, err := quick(t).Open(t.Context(), url, size)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			data, err := io.ReadAll(body)
			if tt.err == nil {
				if err != nil || string(data) != text {
					t.Errorf("ReadAll = %d bytes, %v", len(data), err)
				}
				return
			}
			if !errors.Is(err, tt.err) || !errors.Is(err, io.ErrUnexpectedEOF) || string(data) != text[:cut] {
				t.Errorf("ReadAll = %d bytes, %v, want %d bytes, %v", len(data), err, cut, tt.err)
			}
			if errors.Is(err, ErrNotFound) {
				t.Errorf("%v must not look as if the document had never been there", err)
			}
		})
	}
}

// A chunked body of which only the terminating chunk got lost is complete.
func TestResumeAtTheEnd(t *testing.T) {
	for _, total := range []int{1000, 1001} {
		var n atomic.Int32
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				cutChunked(w, digits(1000))
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", total))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		})
		body, err := quick(t).Open(t.Context(), url, 2000)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(body)
		if len(data) != 1000 || (err == nil) != (total == 1000) {
			t.Errorf("entity of %d bytes: ReadAll = %d bytes, %v", total, len(data), err)
		}
		body.Close()
	}
}

func TestCutBeforeTheFirstByte(t *testing.T) {
	var n atomic.Int32
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			cutOff(w, "stale!", 0)
		}
		if r.Header.Get("Range") != "" {
			t.Error("a range from 0 on")
		}
		io.WriteString(w, "new")
	})
	if data, err := quick(t).Get(t.Context(), url, 10); string(data) != "new" || err != nil {
		t.Errorf("Get = %q, %v", data, err)
	}
}

// A caller that has looked at Encoding must not get bytes of another one.
func TestCutBeforeAnotherEncoding(t *testing.T) {
	var n atomic.Int32
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 1 {
			cutOff(w, "plain", 0)
		}
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "other")
	})
	body, err := quick(t).Open(t.Context(), url, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if data, err := io.ReadAll(body); len(data) > 0 || !errors.Is(err, ErrChanged) {
		t.Errorf("ReadAll = %q, %v", data, err)
	}
}

// Each connection breaks after step bytes. Only those worth the trouble are resumed without end.
func TestResumeManyTimes(t *testing.T) {
	tests := []struct {
		name           string
		size, step     int
		ranges         bool
		wantCuts       int32
		wantIncomplete bool
	}{
		{"big steps", 12 << 20, 1 << 20, true, 12, false},
		{"small steps", 3 << 20, 100 << 10, true, 5, true},
		{"server without ranges", 2 << 20, 1 << 20, false, 5, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			content := []byte(digits(tt.size))
			url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if !tt.ranges {
					r.Header.Del("Range")
				}
				w.Header().Set("ETag", `"1"`)
				http.ServeContent(&dropper{w, tt.step}, r, "", time.Time{}, bytes.NewReader(content))
			})
			body, err := quick(t).Open(t.Context(), url, int64(tt.size))
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			data, err := io.ReadAll(body)
			if !bytes.Equal(data, content[:len(data)]) {
				t.Error("the pieces do not fit together")
			}
			if incomplete := errors.Is(err, io.ErrUnexpectedEOF); incomplete != tt.wantIncomplete || !incomplete && len(data) != tt.size {
				t.Errorf("%d of %d bytes, %v", len(data), tt.size, err)
			}
			if got := requests.Load(); got != tt.wantCuts {
				t.Errorf("%d requests, want %d", got, tt.wantCuts)
			}
		})
	}
}

// dropper is a connection that breaks after left bytes.
type dropper struct {
	http.ResponseWriter
	left int
}

func (d *dropper) Write(p []byte) (int, error) {
	n, err := d.ResponseWriter.Write(p[:min(len(p), d.left)])
	d.left -= n
	if n < len(p) {
		d.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func TestContentRange(t *testing.T) {
	tests := []struct {
		text string
		want contentRange
		ok   bool
	}{
		{"bytes 5-9/10", contentRange{5, 9, 10}, true},
		{"bytes 0-0/1", contentRange{0, 0, 1}, true},
		{"bytes 5-9/*", contentRange{5, 9, -1}, true},
		{"bytes */10", contentRange{-1, -1, 10}, true},
		{"bytes */*", contentRange{}, false},
		{"bytes 9-5/10", contentRange{}, false},
		{"bytes 5-10/10", contentRange{}, false},
		{"bytes 5-/10", contentRange{}, false},
		{"bytes -5-9/10", contentRange{}, false},
		{"bytes +5-9/10", contentRange{}, false},
		{"bytes 5-9", contentRange{}, false},
		{"bytes 5-99999999999999999999/*", contentRange{}, false},
		{"items 5-9/10", contentRange{}, false},
		{"", contentRange{}, false},
	}
	for _, tt := range tests {
		got, ok := parseContentRange(tt.text)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("parseContentRange(%q) = %v, %v, want %v, %v", tt.text, got, ok, tt.want, tt.ok)
		}
	}
}
