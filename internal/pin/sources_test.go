package pin

import (
	"strings"
	"testing"
)

var sourcesFiles = []spotsCase{
	{name: "niv", in: `{
    "nixpkgs": {
        "branch": "nixos-26.05",
        "owner": "NixOS",
        "repo": "nixpkgs",
        "rev": "OLD",
        "sha256": "OLDHASH",
        "type": "tarball",
        "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz",
        "url_template": "https://github.com/<owner>/<repo>/archive/<rev>.tar.gz"
    },
    "other": {"owner": "x", "repo": "nixpkgs", "rev": "OLD", "sha256": "OLDHASH"}
}`, out: `{
    "nixpkgs": {
        "branch": "nixos-26.05",
        "owner": "NixOS",
        "repo": "nixpkgs",
        "rev": "NEW",
        "sha256": "NEWHASH",
        "type": "tarball",
        "url": "https://github.com/NixOS/nixpkgs/archive/NEW.tar.gz",
        "url_template": "https://github.com/<owner>/<repo>/archive/<rev>.tar.gz"
    },
    "other": {"owner": "x", "repo": "nixpkgs", "rev": "OLD", "sha256": "OLDHASH"}
}`},
	{name: "niv to another channel", channel: "nixos-26.11", in: "{\r\n\t\"n\": {\"branch\":\"nixos-26.05\",\"owner\":\"nixos\",\"repo\":\"nixpkgs\",\"rev\":\"OLD\",\"sha256\":\"OLDSRI\"}}\r\n",
		out: "{\r\n\t\"n\": {\"branch\":\"nixos-26.11\",\"owner\":\"nixos\",\"repo\":\"nixpkgs\",\"rev\":\"NEW\",\"sha256\":\"NEWSRI\"}}\r\n"},
	{name: "niv, git", in: `{"n": {"type": "git", "repo": "https://github.com/NixOS/nixpkgs.git", "rev": "OLD", "ref": "nixos-26.05"}}`, out: `{"n": {"type": "git", "repo": "https://github.com/NixOS/nixpkgs.git", "rev": "NEW", "ref": "nixos-26.05"}}`},
	{name: "niv that does not fit", in: `{"a": {"owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "sha256": "short"},
 "b": {"url": "https://channels.nixos.org/nixos-26.05/nixexprs.tar.xz", "sha256": "OLDHASH"},
 "c": {"owner": "NixOS", "repo": "nixpkgs"}, "d": {"owner": "NixOS", "repo": "nixpkgs", "rev": "NEW", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz"},
 "e": {"owner": "NixOS", "repo": "nixpkgs", "rev": "\u0030"}}`, out: `{"a": {"owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "sha256": "short"},
 "b": {"url": "https://channels.nixos.org/nixos-26.05/nixexprs.tar.xz", "sha256": "OLDHASH"},
 "c": {"owner": "NixOS", "repo": "nixpkgs"}, "d": {"owner": "NixOS", "repo": "nixpkgs", "rev": "NEW", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz"},
 "e": {"owner": "NixOS", "repo": "nixpkgs", "rev": "\u0030"}}`, left: []string{badHash, isRelease, noCommit, "two commits", isEscaped}},
	{name: "npins 3", in: npinsFile("3", "OLD", "OLDHASH", ""), out: npinsFile("3", "NEW", "NEWHASH", "")},
	{name: "npins 5", in: npinsFile("5", "OLD", "OLDHASH", `"submodules": false,`), out: npinsFile("5", "NEW", "NEWHASH", `"submodules": false,`)},
	{name: "npins 6", in: npinsFile("6", "OLD", "OLDSRI", `"submodules": false,`), out: npinsFile("6", "NEW", "NEWSRI", `"submodules": false,`)},
	{name: "npins 8", in: npinsFile("8", "OLD", "", `"lfs": false,`), out: npinsFile("8", "NEW", "NEWSRI", `"lfs": false,`)},
	{name: "npins 8, git without an archive", in: `{"pins": {"n": {"type": "Git", "repository": {"type": "Git", "url": "https://github.com/NixOS/nixpkgs.git"}, "branch": "nixos-26.05", "revision": "OLD", "url": null, "hash": "OLDSRI"}}, "version": 8}`,
		out: `{"pins": {"n": {"type": "Git", "repository": {"type": "Git", "url": "https://github.com/NixOS/nixpkgs.git"}, "branch": "nixos-26.05", "revision": "NEW", "url": null, "hash": "NEWSRI"}}, "version": 8}`},
	{name: "npins that stays", in: `{"pins": {"a": {"type": "Channel", "name": "nixos-26.05", "url": "https://releases.nixos.org/nixos/26.05/nixexprs.tar.xz", "hash": "OLDSRI"},
 "b": {"type": "Git", "repository": {"type": "GitHub", "owner": "NixOS", "repo": "nixpkgs"}, "revision": "OLD", "frozen": true},
 "c": {"type": "GitRelease", "repository": {"type": "GitHub", "owner": "NixOS", "repo": "nixpkgs"}, "revision": "OLD"}}, "version": 7}`,
		out: `{"pins": {"a": {"type": "Channel", "name": "nixos-26.05", "url": "https://releases.nixos.org/nixos/26.05/nixexprs.tar.xz", "hash": "OLDSRI"},
 "b": {"type": "Git", "repository": {"type": "GitHub", "owner": "NixOS", "repo": "nixpkgs"}, "revision": "OLD", "frozen": true},
 "c": {"type": "GitRelease", "repository": {"type": "GitHub", "owner": "NixOS", "repo": "nixpkgs"}, "revision": "OLD"}}, "version": 7}`, left: []string{isRelease, isFrozen, "releases"}},
}

func npinsFile(version, rev, hash, more string) string {
	return `{
  "pins": {
    "nixpkgs": {
      "type": "Git",
      "repository": {
        "type": "GitHub",
        "owner": "nixos",
        "repo": "nixpkgs"
      },
      "branch": "nixos-26.05",
      ` + more + `
      "revision": "` + rev + `",
      "url": "https://github.com/nixos/nixpkgs/archive/` + rev + `.tar.gz",
      "hash": "` + hash + `"
    }
  },
  "version": ` + version + `
}
`
}

func TestSources(t *testing.T) {
	for i := range sourcesFiles {
		sourcesFiles[i].file = "nix/sources.json"
	}
	runAll(t, sourcesFiles)
}

func FuzzSources(f *testing.F) { fuzz(f, "sources.json", sourcesFiles) }

var locks = []spotsCase{
	{name: "own and others' inputs", in: lock("OLD", "OLDSRI", "1700000000", "nixos-26.05"), out: lock("NEW", "NEWSRI", "1790000000", "nixos-26.05"), left: []string{otherFlake}},
	{name: "to another channel", channel: "nixos-26.11", in: lock("OLD", "OLDSRI", "1", "nixos-26.05"), out: lock("NEW", "NEWSRI", "1790000000", "nixos-26.11"), left: []string{otherFlake}},
	{name: "CRLF", in: strings.ReplaceAll(lock("OLD", "OLDSRI", "1", "x"), "\n", "\r\n"), out: strings.ReplaceAll(lock("NEW", "NEWSRI", "1790000000", "x"), "\n", "\r\n"), left: []string{otherFlake}},
	{name: "tarball", in: `{"nodes": {"n": {"locked": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz?x", "narHash": "OLDSRI"}, "original": {}},
 "m": {"locked": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz", "narHash": "OLDSRI"}, "original": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/nixos-26.05.tar.gz"}},
 "root": {"inputs": {"n": "n", "m": "m", "f": ["n"]}}}, "root": "root", "version": 7}`,
		out: `{"nodes": {"n": {"locked": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz?x", "narHash": "OLDSRI"}, "original": {}},
 "m": {"locked": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz", "narHash": "OLDSRI"}, "original": {"type": "tarball", "url": "https://github.com/NixOS/nixpkgs/archive/nixos-26.05.tar.gz"}},
 "root": {"inputs": {"n": "n", "m": "m", "f": ["n"]}}}, "root": "root", "version": 7}`, left: []string{noCommit, "flake.nix names the archive"}},
	{name: "what flake.nix or an image decides", in: `{"nodes": {"n": {"locked": {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "narHash": "OLDSRI"}, "original": {"rev": "OLD"}},
 "m": {"locked": {"type": "git", "url": "https://github.com/NixOS/nixpkgs", "rev": "OLD", "narHash": "OLDSRI", "revCount": 3}, "original": {}}, "root": {"inputs": {"n": "n", "m": "m"}}}, "root": "root", "version": 7}`,
		out: `{"nodes": {"n": {"locked": {"type": "github", "owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "narHash": "OLDSRI"}, "original": {"rev": "OLD"}},
 "m": {"locked": {"type": "git", "url": "https://github.com/NixOS/nixpkgs", "rev": "OLD", "narHash": "OLDSRI", "revCount": 3}, "original": {}}, "root": {"inputs": {"n": "n", "m": "m"}}}, "root": "root", "version": 7}`, left: []string{"flake.nix names the commit", "not the archive"}},
}

func lock(rev, hash, modified, ref string) string {
	return `{
  "nodes": {
    "nixpkgs": {
      "locked": {
        "lastModified": ` + modified + `,
        "narHash": "` + hash + `",
        "owner": "NixOS",
        "repo": "nixpkgs",
        "rev": "` + rev + `",
        "type": "github"
      },
      "original": {
        "owner": "NixOS",
        "ref": "` + ref + `",
        "repo": "nixpkgs",
        "type": "github"
      }
    },
    "nixpkgs_2": {
      "locked": {"lastModified": 5, "narHash": "OLDSRI", "owner": "NixOS", "repo": "nixpkgs", "rev": "OLD", "type": "github"},
      "original": {"id": "nixpkgs", "type": "indirect"}
    },
    "hooks": {"inputs": {"nixpkgs": "nixpkgs_2"}},
    "root": {
      "inputs": {
        "hooks": "hooks",
        "nixpkgs": "nixpkgs"
      }
    }
  },
  "root": "root",
  "version": 7
}
`
}

func TestFlakeLock(t *testing.T) {
	for i := range locks {
		locks[i].file = "flake.lock"
	}
	runAll(t, locks)
}

func FuzzFlakeLock(f *testing.F) { fuzz(f, "flake.lock", locks) }

func TestFormatsThatAreNotKnown(t *testing.T) {
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	for _, c := range [][3]string{
		{"sources.json", `{"pins": {"nixpkgs": {}}, "version": 9}`, `npins format "9" is not known (want 3 to 8)`},
		{"sources.json", `{"pins": {"nixpkgs": {}}, "version": 2}`, `npins format "2"`},
		{"sources.json", "{\n\"nixpkgs\": {\n", "unexpected EOF"},
		{"sources.json", `{"nixpkgs": {}, "nixpkgs": {}}`, "twice"},
		{"sources.json", `{"nixpkgs": ` + deep + `}`, "levels"},
		{"sources.json", `{"nixpkgs": 1} 2`, "more than one"},
		{"flake.lock", `{"nodes": {"nixpkgs": {}}, "version": 8}`, `format "8" is not known (want 5 to 7)`},
		{"flake.lock", `{"nixpkgs": 1}`, "no lock file"},
	} {
		_, err := Find(c[0], []byte(c[1]), Options{})
		if err == nil || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("Find(%s, %.60s): %v, want %q", c[0], c[1], err, c[2])
		}
	}
}

var nixFiles = []spotsCase{
	{name: "fetchTarball", in: "# fetchTarball \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"\nimport (builtins.fetchTarball {\n\tname = \"nixpkgs-src\";\n\turl = \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\";\n\tsha256 = \"OLDHASH\"; # x\n}) { config = {}; }\n",
		out: "# fetchTarball \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"\nimport (builtins.fetchTarball {\n\tname = \"nixpkgs-src\";\n\turl = \"https://github.com/NixOS/nixpkgs/archive/NEW.tar.gz\";\n\tsha256 = \"NEWHASH\"; # x\n}) { config = {}; }\n"},
	{name: "address alone, CRLF", in: "{ pkgs ? import (fetchTarball \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\") {} }:\r\npkgs.hello\r\n", out: "{ pkgs ? import (fetchTarball \"https://github.com/NixOS/nixpkgs/archive/NEW.tar.gz\") {} }:\r\npkgs.hello\r\n"},
	{name: "names", in: "let\n  rev = \"OLD\"; sha256 = \"sha256:OLDHASH\";\n  other = fetchTarball { url = \"https://x/${rev2}\"; sha256 = \"OLDHASH\"; };\nin fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/${rev}.tar.gz\"; inherit sha256; }\n",
		out: "let\n  rev = \"NEW\"; sha256 = \"sha256:NEWHASH\";\n  other = fetchTarball { url = \"https://x/${rev2}\"; sha256 = \"OLDHASH\"; };\nin fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/${rev}.tar.gz\"; inherit sha256; }\n"},
	{name: "fetchFromGitHub", in: "pkgs.fetchFromGitHub { owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"OLD\"; hash = \"OLDSRI\"; }", out: "pkgs.fetchFromGitHub { owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"NEW\"; hash = \"NEWSRI\"; }"},
	{name: "empty hashes and base 16", in: "[ (fetchFromGitHub { owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"OLD\"; hash = \"\"; }) (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/OLD.zip\"; sha256 = \"OLDHEX\"; }) ]",
		out: "[ (fetchFromGitHub { owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"NEW\"; hash = \"NEWSRI\"; }) (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/NEW.zip\"; sha256 = \"NEWHEX\"; }) ]"},
	{name: "fetchGit to another channel", channel: "nixos-26.11", in: "fetchGit { url = \"https://github.com/NixOS/nixpkgs.git\"; ref = \"refs/heads/nixos-26.05\"; rev = \"OLD\"; narHash = \"OLDSRI\"; shallow = true; }",
		out: "fetchGit { url = \"https://github.com/NixOS/nixpkgs.git\"; ref = \"refs/heads/nixos-26.11\"; rev = \"NEW\"; narHash = \"NEWSRI\"; shallow = true; }"},
	{name: "fetchTree", in: "builtins.fetchTree rec { type = \"github\"; owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"OLD\"; narHash = \"OLDSRI\"; lastModified = 5; }", out: "builtins.fetchTree rec { type = \"github\"; owner = \"NixOS\"; repo = \"nixpkgs\"; rev = \"NEW\"; narHash = \"NEWSRI\"; lastModified = 1790000000; }"},
	{name: "strings and addresses that only look so", in: "{ a = ''\n  fetchTarball \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"\n  ''${x} ''' ${\"fetchTarball }\"}\n''; u = https://github.com/NixOS/nixpkgs; /* { url = \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"; } */ b = \"\\\" ${a.b} \"; }",
		out: "{ a = ''\n  fetchTarball \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"\n  ''${x} ''' ${\"fetchTarball }\"}\n''; u = https://github.com/NixOS/nixpkgs; /* { url = \"https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz\"; } */ b = \"\\\" ${a.b} \"; }"},
	{name: "put together", in: "{ rev }: [ (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/\" + rev + \".tar.gz\"; }) (fetchTarball \"https://github.com/NixOS/nixpkgs/archive/${rev}.tar.gz\") (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/${v.rev}.tar.gz\"; }) ]",
		out: "{ rev }: [ (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/\" + rev + \".tar.gz\"; }) (fetchTarball \"https://github.com/NixOS/nixpkgs/archive/${rev}.tar.gz\") (fetchTarball { url = \"https://github.com/NixOS/nixpkgs/archive/${v.rev}.tar.gz\"; }) ]", left: []string{"not seen", "not seen", "not seen"}},
	{name: "what stays", in: `[
 (fetchTarball { url = "https://github.com/NixOS/nixpkgs/archive/nixos-26.05.tar.gz"; })
 (fetchTarball { url = "https://channels.nixos.org/nixos-26.05/nixexprs.tar.xz"; sha256 = "OLDHASH"; })
 (fetchurl { url = "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz"; sha256 = "OLDHASH"; })
 (fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = "OLD"; hash = lib.fakeHash; })
 (fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = "OLD"; hash = "OLDSRI"; sparseCheckout = [ "lib" ]; })
 (builtins.getFlake "github:NixOS/nixpkgs/OLD")
 (let v = "OLD"; in let v = "NEW"; in fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = v; })
]`, out: `[
 (fetchTarball { url = "https://github.com/NixOS/nixpkgs/archive/nixos-26.05.tar.gz"; })
 (fetchTarball { url = "https://channels.nixos.org/nixos-26.05/nixexprs.tar.xz"; sha256 = "OLDHASH"; })
 (fetchurl { url = "https://github.com/NixOS/nixpkgs/archive/OLD.tar.gz"; sha256 = "OLDHASH"; })
 (fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = "OLD"; hash = lib.fakeHash; })
 (fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = "OLD"; hash = "OLDSRI"; sparseCheckout = [ "lib" ]; })
 (builtins.getFlake "github:NixOS/nixpkgs/OLD")
 (let v = "OLD"; in let v = "NEW"; in fetchFromGitHub { owner = "NixOS"; repo = "nixpkgs"; rev = v; })
]`, left: []string{noCommit, isRelease, "fetchurl has another hash", "hash is no string", "sparseCheckout", "whatever the store has", "rev is no string"}},
}

func TestNixFile(t *testing.T) {
	for i := range nixFiles {
		nixFiles[i].file = "default.nix"
	}
	runAll(t, nixFiles)
}

func FuzzNixFile(f *testing.F) { fuzz(f, "default.nix", nixFiles) }
