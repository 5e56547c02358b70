# Writes a layer of a nix2container image: JSON, with the digest of a tar archive
# that is made for it and thrown away.
use strict;
use warnings;

my %at_root = map { $_ => 1 } split / /, $ENV{copyToRoot};
my %left_out = map { $_ => 1 } split / /, $ENV{ignore};
my @permissions = map { [split /\t/, $_, -1] } split /\n/, $ENV{permissions};

my %paths;
for my $graph (glob "graph-*") {
    open my $in, "<", $graph or die "$graph: $!";
    while (<$in>) {
        chomp;
        $paths{$_} = 1 if m{^/nix/store/[^/]+$} && !/\.drv$/ && !$left_out{$_};
    }
}

# what is in a layer below as it is in the store
for my $parent (split / /, $ENV{parents}) {
    open my $in, "<", $parent or die "$parent: $!";
    local $/;
    delete @paths{grep { !$at_root{$_} } <$in> =~ /\{"path":"([^"]+)"\}/g};
}

# what is in the archive, by name: [ file in the store or "", permissions ]
my %files;
sub place {
    my ($path, $source, $rules) = @_;
    my $name = $source;
    $name =~ s/^\Q$path\E// if $at_root{$path};
    if ($name ne "") {
        $files{$name} = [$source, $rules];
        while ($name =~ s{/[^/]*$}{} && $name ne "") { $files{$name} ||= ["", []] }
        $files{"/"} ||= ["", []];
    }
    return if -l $source || !-d $source;
    opendir my $dir, $source or die "$source: $!";
    place($path, "$source/$_", $rules) for grep { !/^\.\.?$/ } readdir $dir;
}
for my $path (sort keys %paths) { place($path, $path, [grep { $_->[0] eq $path } @permissions]) }

open my $archive, "|-", "sha256sum > digest" or die "sha256sum: $!";
my $size = 0;
sub put { my $data = shift; print $archive $data; $size += length $data }

sub header {
    my ($name, $type, $mode, $length, $target, $uid, $gid, $uname, $gname) = @_;
    my $prefix = "";
    if (length $name > 100) {
        my $cut = rindex substr($name, 0, 156), "/";
        ($prefix, $name) = (substr($name, 0, $cut), substr($name, $cut + 1));
        die "$name: too long for this maker" if length $name > 100;
    }
    die "$target: too long for this maker" if length $target > 100;
    my $block = pack "a100 a8 a8 a8 a12 a12 A8 a1 a100 a6 a2 a32 a32 a8 a8 a155 x12", $name,
        sprintf("%07o", $mode), sprintf("%07o", $uid), sprintf("%07o", $gid), sprintf("%011o", $length), sprintf("%011o", 1),
        "", $type, $target, "ustar", "00", $uname, $gname, "0000000", "0000000", $prefix;
    substr($block, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $block;
    put($block);
}

# by folder: a slash sorts before everything else
for my $name (sort { $a =~ tr{/}{\0}r cmp $b =~ tr{/}{\0}r } keys %files) {
    my ($source, $rules) = @{ $files{$name} };
    my ($uid, $gid, $uname, $gname, $mode, $type, $length, $target) = (0, 0, "root", "root", 0755, "5", 0, "");
    if (-l $source) {
        ($mode, $type, $target) = (0777, "2", readlink $source);
    } elsif ($source ne "") {
        $mode = (lstat $source)[2] & 07777;
        ($type, $length) = ("0", -s _) if -f _;
    }
    for (@$rules) {
        my (undef, $regex, $m, $u, $g, $un, $gn) = @$_;
        next unless $source =~ /$regex/;
        ($uid, $gid) = ($u, $g);
        $uname = $un if $un ne "";
        $gname = $gn if $gn ne "";
        $mode = oct $m if $m ne "";
    }
    header($name, $type, $mode, $length, $target, $uid, $gid, $uname, $gname);
    next unless $type eq "0";
    open my $in, "<:raw", $source or die "$source: $!";
    my $data;
    put($data) while read $in, $data, 1 << 20;
    put("\0" x (-$length % 512));
}
put("\0" x 1024);
close $archive or die "sha256sum: $!";
open my $digest_file, "<", "digest" or die "digest: $!";
my ($digest) = <$digest_file> =~ /^(\w+)/;
$digest = "sha256:$digest";

my @json;
for my $path (sort keys %paths) {
    my @options;
    my $regex = $path =~ s/([.+?])/\\\\$1/gr;
    push @options, qq("rewrite":{"regex":"^$regex","repl":""}) if $at_root{$path};
    my @perms = map {
        my (undef, $regex, $m, $u, $g, $un, $gn) = @$_;
        $regex =~ s/\\/\\\\/g;
        qq({"regex":"$regex","mode":"$m","uid":$u,"gid":$g,"uname":"$un","gname":"$gn"});
    } grep { $_->[0] eq $path } @permissions;
    push @options, '"perms":[' . join(",", @perms) . "]" if @perms;
    my $options = @options ? ',"options":{' . join(",", @options) . "}" : "";
    push @json, qq({"path":"$path"$options});
}
open my $out, ">", $ENV{out} or die "$ENV{out}: $!";
print $out qq({"digest":"$digest","size":$size,"diff_ids":"$digest","paths":[) . join(",", @json)
    . qq(],"mediatype":"application/vnd.oci.image.layer.v1.tar","History":{"created_by":"nix2container"}});
close $out or die "$ENV{out}: $!";
