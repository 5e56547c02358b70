package page

import (
	"context"
	_ "embed"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nixpkgs-factory/factory/internal/page/browser"
	"github.com/nixpkgs-factory/factory/internal/serve"
)

// audit is a script that says what is wrong with a page for those who cannot see
// well, have no mouse or a small screen.
//
//go:embed testdata/audit.js
var audit string

// show serves the sample.
func show(t *testing.T) (url string) {
	t.Helper()
	files, err := Make(sample(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	site := serve.Files{Content: make(map[string][]byte), Modified: now}
	for _, f := range files {
		site.Content[f.Name] = f.Content
	}
	load := func(context.Context) (serve.Files, error) { return site, nil }
	server := httptest.NewServer(serve.Site(load, serve.SecurityHeaders(Policy)))
	t.Cleanup(server.Close)
	return server.URL
}

var looks = []struct {
	name          string
	width, height int
	scheme        string
}{
	{"light", 1280, 900, "light"},
	{"dark", 1280, 900, "dark"},
	{"phone", 360, 740, "light"},
	{"dark-phone", 360, 740, "dark"},
}

var shownPages = []string{"index.html", "channels/nixos-26.05.html", "channels/nixos-unstable.html", "channels/nixpkgs-unstable.html", "channels/nixos-25.11.html"}

// Pages are accessible, quiet and the site's own, however they are looked at.
// FACTORY_TEST_SHOTS=DIR leaves pictures of them.
func TestPagesInBrowser(t *testing.T) {
	url := show(t)
	b := browser.Start(t)
	for _, look := range looks {
		tab := b.Open(look.width, look.height, look.scheme)
		for _, name := range shownPages {
			tab.Load(url + "/" + name)
			if dir := os.Getenv("FACTORY_TEST_SHOTS"); dir != "" {
				file := filepath.Join(dir, look.name+"-"+strings.ReplaceAll(name, "/", "-")+".png")
				if err := os.WriteFile(file, tab.Shot(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var problems []string
			tab.Eval(audit, &problems)
			for _, p := range problems {
				t.Errorf("%s, %s: %s", look.name, name, p)
			}
		}
		if said := tab.Problems(); len(said) > 0 {
			t.Errorf("%s: the console has %v", look.name, said)
		}
		requests := tab.Requests()
		if len(requests) < 3*len(shownPages) {
			t.Errorf("%d requests: the test no longer sees them", len(requests))
		}
		for _, r := range requests {
			if !strings.HasPrefix(r, url+"/") && r != "about:blank" {
				t.Errorf("%s: a request to somebody else: %s", look.name, r)
			}
		}
	}
}

// The audit finds what is wrong.
func TestAuditFinds(t *testing.T) {
	tab := browser.Start(t).Open(360, 740, "light")
	for problem, body := range map[string]string{
		"contrast":   `<main><h1>x</h1><p style="color:#999">pale</p></main>`,
		"heading":    `<main><h1>x</h1><h3>skipped</h3></main>`,
		"name":       `<main><h1>x</h1><button></button></main>`,
		"scope":      `<main><h1>x</h1><table><caption>c</caption><tr><th>a</th></tr></table></main>`,
		"caption":    `<main><h1>x</h1><table><tr><th scope="col">a</th></tr></table></main>`,
		"landmark":   `<main><h1>x</h1></main><p>outside</p>`,
		"wider":      `<main><h1>x</h1><div style="width:600px">wide</div></main>`,
		"no element": `<main><h1>x</h1><svg role="img" aria-labelledby="nowhere"></svg></main>`,
		"twice":      `<main><h1>x</h1><p id="a">1</p><p id="a">2</p></main>`,
		"language":   `<main><h1>x</h1></main>`,
		"small":      `<main><h1>x</h1><button style="height:10px;font-size:5px">x</button></main>`,
	} {
		lang := ` lang="en"`
		if problem == "language" {
			lang = ""
		}
		tab.Load("data:text/html,<!DOCTYPE html><html" + lang + "><head><title>t</title><meta name=viewport content=\"width=device-width\"></head><body>" + strings.ReplaceAll(body, "#", "%23") + "</body></html>")
		var found []string
		tab.Eval(audit, &found)
		if !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, problem) }) {
			t.Errorf("of %s the audit finds %q", body, found)
		}
	}
}

// What a copy button copies is the text beside it.
func TestCopyButtons(t *testing.T) {
	url := show(t)
	b := browser.Start(t)
	b.Allow(url, "clipboardReadWrite", "clipboardSanitizedWrite")
	tab := b.Open(1280, 900, "light")
	tab.Load(url + "/channels/nixos-26.05.html")
	for _, way := range []struct{ name, before string }{
		{"clipboard", ""},
		{"selection", `Object.defineProperty(navigator, "clipboard", {value: undefined});`},
	} {
		var copied []struct{ Want, Got, Said, Button string }
		tab.Eval(`(async () => {
			const read = navigator.clipboard.readText.bind(navigator.clipboard);
			`+way.before+`
			const all = [];
			for (const figure of document.querySelectorAll("figure.pin")) {
				const button = figure.querySelector("button");
				button.focus();
				button.click();
				const before = performance.now();
				while (button.textContent !== "Copied" && performance.now() - before < 10000) await new Promise((r) => setTimeout(r, 10));
				all.push({Want: figure.querySelector("code").textContent, Got: await read(), Said: document.getElementById("status").textContent, Button: button.textContent});
				button.textContent = "Copy";
			}
			return all;
		})()`, &copied)
		if len(copied) != 7 {
			t.Fatalf("%s: %d copy buttons, want 7", way.name, len(copied))
		}
		for _, c := range copied {
			if c.Got != c.Want || !strings.HasSuffix(c.Said, " copied") || c.Button != "Copied" {
				t.Errorf("%s: copied %q, want %q; said %q", way.name, c.Got, c.Want, c.Said)
			}
		}
	}
	if said := tab.Problems(); len(said) > 0 {
		t.Errorf("the console has %v", said)
	}
}

// Every link within the site leads to something that is there.
func TestLinksInBrowser(t *testing.T) {
	url := show(t)
	tab := browser.Start(t).Open(1280, 900, "light")
	seen := 0
	for _, name := range shownPages {
		tab.Load(url + "/" + name)
		var broken []string
		var n int
		tab.Eval(`(() => document.querySelectorAll("a[href], link[href], script[src]").length)()`, &n)
		seen += n
		// The policy lets no script ask for anything, so that a tab without it does.
		var links []string
		tab.Eval(`[...document.querySelectorAll("a[href], link[href], script[src]")].map((e) => e.href || e.src).filter((u) => u.startsWith(location.origin))`, &links)
		for _, link := range slices.Compact(slices.Sorted(slices.Values(links))) {
			target, anchor, _ := strings.Cut(link, "#")
			if status := get(t, target); status != 200 {
				broken = append(broken, link)
			}
			if anchor != "" {
				var there bool
				tab.Eval(`document.getElementById("`+anchor+`") !== null`, &there)
				if !there {
					broken = append(broken, link)
				}
			}
		}
		if len(broken) > 0 {
			t.Errorf("%s: links to nothing: %v", name, broken)
		}
	}
	if seen < 100 {
		t.Errorf("%d links: the test no longer sees them", seen)
	}
	// With the keyboard, the first stop leads past the header.
	tab.Load(url + "/index.html")
	var focused string
	tab.Eval(`(() => { document.querySelector("a.skip").focus(); document.querySelector("a.skip").click(); return document.activeElement.id || document.querySelector(":target").id; })()`, &focused)
	if focused != "main" {
		t.Errorf("the skip link leads to %q", focused)
	}
}

// Without scripts everything but the buttons is there.
func TestWithoutScript(t *testing.T) {
	url := show(t)
	tab := browser.Start(t).Open(1280, 900, "light")
	tab.WithoutScript()
	tab.Load(url + "/channels/nixos-26.05.html")
	var text string
	tab.Eval(`document.body.innerText`, &text)
	for _, want := range []string{"FROM ghcr.io/nixpkgs-factory/", "sha256 = ", "All numbers of these charts", "42\u00a0min"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	var buttons int
	tab.Eval(`document.querySelectorAll("button").length`, &buttons)
	if buttons != 0 {
		t.Errorf("%d buttons that do nothing", buttons)
	}
}
