// Package browser has tests look at pages with Debian's Chromium, by its DevTools
// protocol (https://chromedevtools.github.io/devtools-protocol/).
package browser

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// patience bounds everything that a page is asked for.
const patience = time.Minute

// Browser is a Chromium without a window, of one test's own.
type Browser struct {
	t  testing.TB
	to io.Writer

	mu      sync.Mutex
	next    int
	answers map[int]chan message
	tabs    map[string]*Tab // by session
	ended   error
}

// message is what goes to the browser, and what comes from it.
type message struct {
	ID      int             `json:"id,omitempty"`
	Session string          `json:"sessionId,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// Start starts a browser that ends with the test. It is skipped where there is none.
func Start(t testing.TB) *Browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed (Debian package chromium)")
	}
	in, toBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromBrowser, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Tests run as root and in containers, where Chromium's own sandbox does not
	// work. All that it sees are pages of the test.
	cmd := exec.Command(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // as 3 and 4
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	b := &Browser{t: t, to: toBrowser, answers: make(map[int]chan message), tabs: make(map[string]*Tab)}
	var reading sync.WaitGroup
	reading.Go(func() { b.read(fromBrowser) })
	t.Cleanup(func() {
		toBrowser.Close() // that ends it
		done := time.AfterFunc(10*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		done.Stop()
		fromBrowser.Close()
		reading.Wait()
	})
	return b
}

// read hands on what the browser says, until it ends.
func (b *Browser) read(from io.Reader) {
	in := bufio.NewReader(from)
	for {
		data, err := in.ReadBytes(0)
		if err != nil {
			b.end(fmt.Errorf("the browser has ended: %w", err))
			return
		}
		var m message
		if err := json.Unmarshal(data[:len(data)-1], &m); err != nil {
			b.end(err)
			return
		}
		b.mu.Lock()
		answer, tab := b.answers[m.ID], b.tabs[m.Session]
		delete(b.answers, m.ID)
		b.mu.Unlock()
		switch {
		case answer != nil:
			answer <- m
		case tab != nil && m.Method != "":
			tab.note(m)
		}
	}
}

func (b *Browser) end(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = err
	for _, answer := range b.answers {
		close(answer)
	}
	clear(b.answers)
}

func (b *Browser) send(session, method string, params any) (chan message, error) {
	data, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended != nil {
		return nil, b.ended
	}
	b.next++
	text, err := json.Marshal(message{ID: b.next, Session: session, Method: method, Params: data})
	if err != nil {
		return nil, err
	}
	answer := make(chan message, 1)
	b.answers[b.next] = answer
	_, err = b.to.Write(append(text, 0))
	return answer, err
}

// call has the browser do something and reads its answer into result, if that is
// not nil.
func (b *Browser) call(session, method string, params, result any) error {
	answer, err := b.send(session, method, params)
	if err != nil {
		return err
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			return errors.New("the browser has ended")
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-time.After(patience):
		return fmt.Errorf("%s: no answer", method)
	}
}

// Tab is a page that is open.
type Tab struct {
	b       *Browser
	session string

	mu       sync.Mutex
	loaded   chan struct{}
	problems []string
	requests []string
}

type params = map[string]any

// Open opens a tab of a size, in CSS pixels, in light or dark.
func (b *Browser) Open(width, height int, scheme string) *Tab {
	b.t.Helper()
	var target struct{ TargetID string }
	var attached struct{ SessionID string }
	b.must(b.call("", "Target.createTarget", params{"url": "about:blank"}, &target))
	b.must(b.call("", "Target.attachToTarget", params{"targetId": target.TargetID, "flatten": true}, &attached))
	tab := &Tab{b: b, session: attached.SessionID}
	b.mu.Lock()
	b.tabs[tab.session] = tab
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Network", "Log"} {
		tab.do(domain+".enable", params{}, nil)
	}
	tab.do("Emulation.setDeviceMetricsOverride", params{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	tab.do("Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
	return tab
}

// WithoutScript has pages of the tab run no script from now on.
func (t *Tab) WithoutScript() {
	t.b.t.Helper()
	t.do("Emulation.setScriptExecutionDisabled", params{"value": true}, nil)
}

// Allow allows pages of an origin what a user would be asked about.
func (b *Browser) Allow(origin string, permissions ...string) {
	b.t.Helper()
	b.must(b.call("", "Browser.grantPermissions", params{"origin": origin, "permissions": permissions}, nil))
}

func (b *Browser) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (t *Tab) do(method string, p params, result any) {
	t.b.t.Helper()
	t.b.must(t.b.call(t.session, method, p, result))
}

// note keeps what a page does that nobody asked for.
func (t *Tab) note(m message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch m.Method {
	case "Page.loadEventFired":
		if t.loaded != nil {
			close(t.loaded)
			t.loaded = nil
		}
	case "Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled":
		t.problems = append(t.problems, string(m.Params))
	case "Network.requestWillBeSent":
		var sent struct{ Request struct{ URL string } }
		if json.Unmarshal(m.Params, &sent) == nil {
			t.requests = append(t.requests, sent.Request.URL)
		}
	}
}

// Load loads a page and everything that it needs.
func (t *Tab) Load(url string) {
	t.b.t.Helper()
	ctx, cancel := context.WithTimeout(t.b.t.Context(), patience)
	defer cancel()
	t.mu.Lock()
	loaded := make(chan struct{})
	t.loaded = loaded
	t.mu.Unlock()
	var answer struct{ ErrorText string }
	t.do("Page.navigate", params{"url": url}, &answer)
	if answer.ErrorText != "" {
		t.b.t.Fatalf("%s: %s", url, answer.ErrorText)
	}
	select {
	case <-loaded:
	case <-ctx.Done():
		t.b.t.Fatalf("%s: not loaded", url)
	}
}

// Problems are what was written to the console so far: errors of scripts, and what
// the Content-Security-Policy has stopped.
func (t *Tab) Problems() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.problems...)
}

// Requests are the addresses that the tab has asked for.
func (t *Tab) Requests() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string{}, t.requests...)
}

// Eval reads the value of an expression, awaited, as if a user had done it.
func (t *Tab) Eval(expression string, result any) {
	t.b.t.Helper()
	var answer struct {
		Result    struct{ Value json.RawMessage }
		Exception *struct {
			Text      string
			Exception struct{ Description string }
		} `json:"exceptionDetails"`
	}
	t.do("Runtime.evaluate", params{"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &answer)
	if answer.Exception != nil {
		t.b.t.Fatalf("%s %s", answer.Exception.Text, answer.Exception.Exception.Description)
	}
	if err := json.Unmarshal(answer.Result.Value, result); err != nil {
		t.b.t.Fatalf("%q: %v", answer.Result.Value, err)
	}
}

// Shot is a picture of the whole page, as PNG.
func (t *Tab) Shot() []byte {
	t.b.t.Helper()
	var answer struct{ Data string }
	t.do("Page.captureScreenshot", params{"captureBeyondViewport": true}, &answer)
	data, err := base64.StdEncoding.DecodeString(answer.Data)
	t.b.must(err)
	return data
}
