package debian

import "slices"

// A tool is a package of the miniature nixpkgs that is one Debian package, or part of it.
type tool struct {
	attr   string
	deb    string
	name   string   // pname, if it is not attr
	output string   // "" is "out"
	bins   []string // nil for all
	extra  []extra
	links  []Link
}

// An extra is a pattern of files that go to a folder of the output.
type extra struct {
	from, to string
	follow   bool // add the files behind symbolic links, not the links
}

// A place is an output of a package that holds libraries.
type place struct{ attr, name, output string }

func (t tool) pname() string {
	if t.name != "" {
		return t.name
	}
	return t.attr
}

func (t tool) outputName() string {
	if t.output != "" {
		return t.output
	}
	return "out"
}

var tools = []tool{
	{attr: "bashInteractive", deb: "bash", name: "bash-interactive", bins: []string{"bash"}, links: []Link{{To: "bin/sh", Target: "bash"}}},
	{attr: "coreutils", deb: "coreutils"},
	{attr: "findutils", deb: "findutils"},
	{attr: "diffutils", deb: "diffutils"},
	{attr: "gnused", deb: "sed"},
	{attr: "gnugrep", deb: "grep", bins: []string{"grep", "egrep", "fgrep"}},
	{attr: "gnutar", deb: "tar", bins: []string{"tar"}},
	{attr: "gzip", deb: "gzip", bins: []string{"gzip", "gunzip", "zcat"}},
	{attr: "xz", deb: "xz-utils", output: "bin", bins: []string{"xz", "xzcat", "unxz"}},
	{attr: "zstd", deb: "zstd", output: "bin", bins: []string{"zstd", "unzstd", "zstdcat"}},
	{attr: "less", deb: "less", bins: []string{"less"}},
	{attr: "jq", deb: "jq"},
	{attr: "curl", deb: "curl"},
	{attr: "hello", deb: "hello"},
	{attr: "openssh", deb: "openssh-client", bins: []string{"ssh", "ssh-keygen", "ssh-keyscan", "ssh-add", "ssh-agent", "scp", "sftp"}},
	{attr: "tmate", deb: "tmate"},
	{attr: "nix", deb: "nix-bin"},
	{attr: "perl", deb: "perl-base", bins: []string{"perl"}}, // and none of its modules
	{attr: "gitMinimal", deb: "git", name: "git-minimal", bins: []string{}, extra: []extra{
		{from: "/usr/bin/git", to: "libexec/git-core", follow: true},
		{from: "/usr/lib/git-core/git-remote-*", to: "libexec/git-core"},
		{from: "/usr/lib/git-core/git-sh-*", to: "libexec/git-core"},
		{from: "/usr/lib/git-core/git-submodule", to: "libexec/git-core"},
		{from: "/usr/lib/git-core/git-upload-*", to: "libexec/git-core"},
		{from: "/usr/lib/git-core/git-receive-pack", to: "libexec/git-core"},
		{from: "/usr/share/git-core/templates/description", to: "share/git-core/templates"},
		{from: "/usr/share/git-core/templates/info/exclude", to: "share/git-core/templates/info"},
	}},
	// The certificates of Debian's package only: the bundle in /etc holds those of the machine as well.
	{attr: "cacert", deb: "ca-certificates", name: "nss-cacert", bins: []string{}, extra: []extra{
		{from: "/usr/share/ca-certificates/mozilla/*.crt", to: "etc/ssl/trust-source"},
	}},
	{attr: "glibc", deb: "libc-bin", bins: []string{}, extra: []extra{
		{from: "/usr/lib/locale/C.utf8/LC_*", to: "lib/locale/C.utf8"},
		{from: "/usr/lib/locale/C.utf8/LC_MESSAGES/*", to: "lib/locale/C.utf8/LC_MESSAGES"},
	}},
	{attr: "ncurses", deb: "ncurses-base", bins: []string{}, extra: []extra{
		{from: "/lib/terminfo/d/*", to: "share/terminfo/d"},
		{from: "/lib/terminfo/l/*", to: "share/terminfo/l"},
		{from: "/lib/terminfo/s/*", to: "share/terminfo/s"},
		{from: "/lib/terminfo/v/*", to: "share/terminfo/v"},
		{from: "/lib/terminfo/x/*", to: "share/terminfo/x"},
	}},
}

// extraLibraries are there although no tool is linked against them.
var extraLibraries = []string{"libstdc++.so.6", "libgcc_s.so.1"}

// places names the packages of nixpkgs that have the libraries of Debian's.
// Libraries of any other Debian package make up a package of its name.
var places = map[string]place{
	"libboost-context1.74.0": {"boost", "boost", "out"},
	"libbsd0":                {"libbsd", "libbsd", "out"},
	"libcpuid16":             {"libcpuid", "libcpuid", "out"},
	"libedit2":               {"libedit", "libedit", "out"},
	"libevent-core-2.1-7":    {"libevent", "libevent", "out"},
	"libevent-2.1-7":         {"libevent", "libevent", "out"},
	"libffi8":                {"libffi", "libffi", "out"},
	"libidn2-0":              {"libidn2", "libidn2", "out"},
	"libjq1":                 {"libjq", "libjq", "out"},
	"libkeyutils1":           {"keyutils", "keyutils", "lib"},
	"libmsgpackc2":           {"msgpack-c", "msgpack-c", "out"},
	"libnghttp2-14":          {"nghttp2", "nghttp2", "lib"},
	"libonig5":               {"oniguruma", "oniguruma", "lib"},
	"librtmp1":               {"rtmpdump", "rtmpdump", "out"},
	"libseccomp2":            {"libseccomp", "libseccomp", "lib"},
	"libselinux1":            {"libselinux", "libselinux", "out"},
	"libsodium23":            {"libsodium", "libsodium", "out"},
	"libssh-4":               {"libssh", "libssh", "out"},
	"libssh2-1":              {"libssh2", "libssh2", "out"},
	"libtasn1-6":             {"libtasn1", "libtasn1", "out"},
	"libunistring2":          {"libunistring", "libunistring", "out"},
	"libacl1":                {"acl", "acl", "out"},
	"libarchive13":           {"libarchive", "libarchive", "lib"},
	"libattr1":               {"attr", "attr", "out"},
	"libbrotli1":             {"brotli", "brotli", "lib"},
	"libbz2-1.0":             {"bzip2", "bzip2", "out"},
	"libcom-err2":            {"e2fsprogs", "e2fsprogs", "out"},
	"libcurl3-gnutls":        {"curl-gnutls", "curl-gnutls", "out"},
	"libcurl4":               {"curl", "curl", "out"},
	"libgc1":                 {"boehmgc", "boehm-gc", "out"},
	"libgcc-s1":              {"gcc-unwrapped", "gcc", "lib"},
	"libgmp10":               {"gmp", "gmp", "out"},
	"libgnutls30":            {"gnutls", "gnutls", "out"},
	"libgssapi-krb5-2":       {"libkrb5", "libkrb5", "out"},
	"libhogweed6":            {"nettle", "nettle", "out"},
	"libicu72":               {"icu", "icu4c", "out"},
	"libk5crypto3":           {"libkrb5", "libkrb5", "out"},
	"libkrb5-3":              {"libkrb5", "libkrb5", "out"},
	"libkrb5support0":        {"libkrb5", "libkrb5", "out"},
	"libldap-2.5-0":          {"openldap", "openldap", "out"},
	"liblz4-1":               {"lz4", "lz4", "lib"},
	"liblzma5":               {"xz", "xz", "out"},
	"libmd0":                 {"libmd", "libmd", "out"},
	"libnettle8":             {"nettle", "nettle", "out"},
	"libp11-kit0":            {"p11-kit", "p11-kit", "out"},
	"libpcre2-8-0":           {"pcre2", "pcre2", "out"},
	"libpsl5":                {"libpsl", "libpsl", "out"},
	"libreadline8":           {"readline", "readline", "out"},
	"libsasl2-2":             {"cyrus_sasl", "cyrus-sasl", "out"},
	"libsqlite3-0":           {"sqlite", "sqlite", "out"},
	"libssl3":                {"openssl", "openssl", "out"},
	"libstdc++6":             {"gcc-unwrapped", "gcc", "lib"},
	"libtinfo6":              {"ncurses", "ncurses", "out"},
	"libxml2":                {"libxml2", "libxml2", "out"},
	"libzstd1":               {"zstd", "zstd", "out"},
	"nix-bin":                {"nix", "nix", "out"},
	"zlib1g":                 {"zlib", "zlib", "out"},
}

// builders are the Debian packages of the programs that packages are built and served with.
var builders = []string{"coreutils", "git", "mount", "nix-bin", "patchelf", "tar", "util-linux"}

// required returns the Debian packages that must be installed.
func required() []string {
	names := append(slices.Clone(builders), "libc6", "libgcc-s1", "libstdc++6")
	for _, t := range tools {
		names = append(names, t.deb)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
