package sourcetest

import (
	"encoding/base64"
	"math/rand/v2"
	"strconv"
)

// makeWords makes distinct words of one to four syllables.
func makeWords(rng *rand.Rand, n int) []string {
	const consonants, vowels = "bcdfghjklmnprstvwxyz", "aaeeiioouy"
	seen := map[string]bool{}
	words := make([]string, 0, n)
	for len(words) < n {
		var w []byte
		for range 1 + rng.IntN(2) + len(words)*2/n {
			w = append(w, consonants[rng.IntN(len(consonants))], vowels[rng.IntN(len(vowels))])
			if rng.IntN(2) == 0 {
				w = append(w, consonants[rng.IntN(len(consonants))])
			}
		}
		if !seen[string(w)] {
			seen[string(w)] = true
			words = append(words, string(w))
		}
	}
	return words
}

// word is mostly one of the last words again, and otherwise a common one more often than a rare one.
func (g *generator) word() string {
	slot := &g.recent[g.rng.IntN(len(g.recent))]
	if *slot == "" || g.rng.IntN(5) == 0 {
		x := g.rng.Float64()
		*slot = g.words[int(x*x*x*x*float64(len(g.words)))]
	}
	return *slot
}

// puts appends templates. In each of them, % stands for a word, # for a number, and ! for a hash;
// one in five comes out as it did the last time, as authors copy from each other.
func (g *generator) puts(templates ...string) {
	for _, t := range templates {
		if last := g.last[t]; last != "" && g.rng.IntN(5) == 0 {
			g.text = append(g.text, last...)
			continue
		}
		start := len(g.text)
		g.fill(t)
		g.last[t] = string(g.text[start:])
	}
}

func (g *generator) fill(template string) {
	for _, c := range []byte(template) {
		switch c {
		case '%':
			g.text = append(g.text, g.word()...)
		case '#':
			g.text = strconv.AppendInt(g.text, int64(g.rng.ExpFloat64()*8), 10)
		case '!':
			g.hash()
		default:
			g.text = append(g.text, c)
		}
	}
}

// hash appends what looks like a SHA-256 in base64.
func (g *generator) hash() {
	var sum [32]byte
	for i := range sum {
		sum[i] = byte(g.rng.Uint32())
	}
	g.text = base64.StdEncoding.AppendEncode(g.text, sum[:])
}

// pick puts one of some lines.
func (g *generator) pick(lines []string) {
	g.puts(lines[g.rng.IntN(len(lines))])
}

var builders = []string{"stdenv.mkDerivation (finalAttrs: {\n", "stdenv.mkDerivation rec {\n", "buildGoModule rec {\n", "buildPythonPackage rec {\n", "rustPlatform.buildRustPackage (finalAttrs: {\n"}

var attributes = []string{
	"  cmakeFlags = [\n    (lib.cmakeBool \"%_%\" true)\n    \"-D%=${%}\"\n  ];\n\n",
	"  nativeBuildInputs = [\n    %\n    %\n    pkg-config\n  ];\n\n",
	"  buildInputs = [\n    %\n    %-%\n    %\n  ];\n\n",
	"  propagatedBuildInputs = [ % % lib% ];\n\n",
	"  postPatch = ''\n    substituteInPlace %/%.% \\\n      --replace-fail \"%-%\" \"${%}/bin/%\"\n  '';\n\n",
	"  postInstall = ''\n    install -Dm644 %.% $out/share/%/%\n    wrapProgram $out/bin/% --prefix PATH : ${lib.makeBinPath [ % % ]}\n  '';\n\n",
	"  configureFlags = [ \"--with-%=${lib.getDev %}\" \"--disable-%\" ];\n\n",
	"  patches = [\n    ./%-%.patch\n    (fetchpatch {\n      url = \"https://github.com/%/%/commit/%#.patch\";\n      hash = \"sha256-!\";\n    })\n  ];\n\n",
	"  # % % the % of % %, see %-% # for %\n",
	"  doCheck = !stdenv.hostPlatform.isDarwin && stdenv.buildPlatform.canExecute stdenv.hostPlatform;\n\n",
	"  disabledTests = [\n    \"test_%_%\"\n    \"test_%_%_%\"\n    # % % %\n    \"%_%\"\n  ];\n\n",
	"  passthru.updateScript = nix-update-script { };\n\n",
	"  env.NIX_CFLAGS_COMPILE = \"-Wno-error=%-% -I${%}/include/%\";\n\n",
}

// expression appends a package: a file like most of nixpkgs.
func (g *generator) expression(name string, size int) {
	end := len(g.text) + size - 400
	g.puts("{\n  lib,\n  stdenv,\n  fetchFromGitHub,\n  %,\n  %,\n  %,\n}:\n\n")
	g.pick(builders)
	g.text = append(g.text, "  pname = \""+name+"\";\n"...)
	g.puts("  version = \"#.#.#\";\n\n  src = fetchFromGitHub {\n    owner = \"%%\";\n")
	g.text = append(g.text, "    repo = \""+name+"\";\n"...)
	g.puts("    tag = \"v${version}\";\n    hash = \"sha256-!\";\n  };\n\n")
	for len(g.text) < end {
		g.pick(attributes)
	}
	g.puts("  meta = {\n    description = \"% % % for % % %\";\n    homepage = \"https://%.%.org/%\";\n    license = lib.licenses.%;\n",
		"    maintainers = with lib.maintainers; [ %% %# ];\n    platforms = lib.platforms.linux;\n  };\n})\n")
}

var options = []string{
	"    %.% = lib.mkOption {\n      type = lib.types.str;\n      default = \"%\";\n      description = ''\n        % % % the % of % % %, % % % if % % is %.\n        % % % % % % %.\n      '';\n    };\n\n",
	"    % = lib.mkEnableOption \"% % %\";\n\n",
	"    systemd.services.% = {\n      description = \"% % %\";\n      wantedBy = [ \"multi-user.target\" ];\n      after = [ \"%.service\" ];\n      serviceConfig.ExecStart = \"${cfg.package}/bin/% --%=${toString cfg.%}\";\n    };\n\n",
	"    networking.firewall.allowedTCPPorts = lib.mkIf cfg.% [ #### ];\n",
	"    assertions = [\n      {\n        assertion = cfg.% != null -> cfg.%.%;\n        message = \"% % % `%.%` % %\";\n      }\n    ];\n\n",
}

// module appends a NixOS module.
func (g *generator) module(name string, size int) {
	end := len(g.text) + size
	g.puts("{\n  config,\n  lib,\n  pkgs,\n  ...\n}:\n\nlet\n  cfg = config.services.%;\nin\n{\n")
	for len(g.text) < end {
		g.pick(options)
	}
	g.puts("}\n")
}

// packageSet appends many short expressions, as programs write them.
func (g *generator) packageSet(name string, size int) {
	end := len(g.text) + size
	g.puts("# generated by %, do not edit\n{ lib, pkgs, callPackage }: self: {\n\n")
	for len(g.text) < end {
		g.puts("  \"%-%\" = callPackage (\n    { mkDerivation, base, %, %, %-%, % }:\n    mkDerivation {\n      pname = \"%-%\";\n      version = \"#.#.#.#\";\n",
			"      sha256 = \"!\";\n      libraryHaskellDepends = [ base % % %-% % ];\n      description = \"% % % %\";\n      license = lib.licenses.bsd3;\n    }\n  ) { };\n\n")
	}
	g.puts("}\n")
}

// lockFile appends names, versions and hashes: what compresses least.
func (g *generator) lockFile(name string, size int) {
	end := len(g.text) + size
	g.puts("[\n")
	for len(g.text) < end {
		g.puts("  {\n    \"pname\": \"%.%\",\n    \"version\": \"#.#.#\",\n    \"hash\": \"sha256-!\"\n  },\n")
	}
	g.puts("]\n")
}

// patch appends a patch.
func (g *generator) patch(name string, size int) {
	end := len(g.text) + size
	for len(g.text) < end {
		g.puts("--- a/%/%.c\n+++ b/%/%.c\n@@ -#,# +#,# @@ static int %_%(struct % *%)\n")
		for range 6 {
			g.pick([]string{" \tif (%->% && !%(%, %))\n", "-\t\treturn %_%(%, #);\n", "+\t\treturn %_%(%, % + #);\n", " \t%->% = %;\n", " \n"})
		}
	}
}

// prose appends paragraphs.
func (g *generator) prose(name string, size int) {
	end := len(g.text) + size
	for len(g.text) < end {
		g.puts("% % % %, % % `%` % % % %.\n")
		if g.rng.IntN(6) == 0 {
			g.puts("\n## % %\n\n")
		}
	}
}
