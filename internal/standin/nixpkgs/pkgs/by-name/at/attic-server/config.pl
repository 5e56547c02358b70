# Where the configuration comes from, and what has to be in it. No modules: this is all that
# the perl of the miniature nixpkgs can do.

sub fail { print STDERR "Error: $_[0]\n"; exit 1 }
sub panic { print STDERR "thread 'main' panicked: $_[0]\n"; exit 101 }

sub base64 {
    my $text = shift;
    $text =~ tr|A-Za-z0-9+/||cd;
    $text =~ tr|A-Za-z0-9+/| -_|;
    return unpack('u', chr(32 + int(length($text) * 3 / 4)) . $text) if length($text) <= 60;
    return join '', map { unpack('u', chr(32 + int(length($_) * 3 / 4)) . $_) } $text =~ /(.{1,60})/gs;
}

sub folder {
    my ($variable, $otherwise) = @_;
    my $home = $ENV{$variable};
    $home = "$ENV{HOME}/$otherwise" unless defined $home && $home =~ m|^/|; # others do not count
    $home =~ s|/$||;
    return "$home/attic";
}

sub make { my $at = ''; for (split m|/|, $_[0]) { next if $_ eq ''; $at .= "/$_"; mkdir $at } }

sub slurp {
    open(my $file, '<', $_[0]) or fail("$!");
    local $/;
    return scalar <$file>;
}

# What a first start without any configuration does.
sub first_start {
    my $file = shift;
    my $data = folder('XDG_DATA_HOME', '.local/share');
    make($data);
    open(my $database, '>>', "$data/server.db") or fail("$!");
    make("$data/storage");
    open(my $config, '>', $file) or fail("$!");
    my $secret = join '', map { ('A' .. 'Z', 'a' .. 'z')[rand 52] } 1 .. 64;
    print $config qq([database]\nurl = "sqlite://$data/server.db"\n[storage]\ntype = "local"\npath = "$data/storage"\n),
        qq([chunking]\nnar-size-threshold = 65536\nmin-size = 16384\navg-size = 65536\nmax-size = 262144\n),
        qq([jwt.signing]\ntoken-rs256-secret-base64 = "$secret"\n);
    close $config;
    print STDERR "Welcome to Attic!\nA simple setup using SQLite and local storage has been configured for you in:\n    $file\n";
}

my %known = map { $_ => 1 } qw(listen allowed-hosts api-endpoint substituter-endpoint soft-delete-caches require-proof-of-possession
    max-nar-info-size database storage chunking compression garbage-collection jwt);

# load returns the settings as "table.key", and where they are from.
sub load {
    my ($file, $first) = @_;
    my ($text, $from);
    if (defined $file) {
        ($text, $from) = (slurp($file), $file);
    } elsif (length($ENV{ATTIC_SERVER_CONFIG_BASE64} // '')) {
        ($text, $from) = (base64($ENV{ATTIC_SERVER_CONFIG_BASE64}), 'ATTIC_SERVER_CONFIG_BASE64');
    } else {
        my $dir = folder('XDG_CONFIG_HOME', '.config');
        make($dir);
        first_start("$dir/server.toml") if $first && !-e "$dir/server.toml";
        ($text, $from) = (slurp("$dir/server.toml"), "$dir/server.toml");
    }
    my ($table, %set) = ('');
    for (split /\n/, $text) {
        s/^\s+|\s+$//g;
        next if /^(#|$)/;
        if (/^\[([\w.-]+)\]$/) { $table = "$1."; $set{$1} = {}; fail("unknown field `$1`") unless $known{(split /\./, $1)[0]}; next }
        /^([\w-]+)\s*=\s*(?:"([^"]*)"|([\w.\[\]]+))(?:\s*#.*)?$/ or fail("TOML parse error at: $_");
        fail("unknown field `$1`") if $table eq '' && !$known{$1};
        $set{"$table$1"} = $2 // $3;
    }
    for ('database', 'storage', 'chunking', 'storage.type') { fail("missing field `$_`") unless exists $set{$_} }
    for ('nar-size-threshold', 'min-size', 'avg-size', 'max-size') { fail("missing field `$_`") unless exists $set{"chunking.$_"} }
    $set{'database.url'} //= $ENV{ATTIC_SERVER_DATABASE_URL}
        // panic('Database URL must be specified in either database.url or the ATTIC_SERVER_DATABASE_URL environment.');
    for my $kind ('rs256-pubkey', 'rs256-secret', 'hs256-secret') {
        ($set{key}, $set{signing}) = ($kind, $set{"jwt.signing.token-$kind-base64"}) if !$set{key} && $set{"jwt.signing.token-$kind-base64"};
    }
    for my $kind ('rs256-pubkey', 'rs256-secret', 'hs256-secret') {
        my $value = $ENV{'ATTIC_SERVER_TOKEN_' . (uc($kind) =~ tr/-/_/r) . '_BASE64'};
        ($set{key}, $set{signing}) = ($kind, $value) if !$set{key} && length($value // '');
    }
    panic('You must configure JWT signing and verification') unless $set{key};
    return ($from, %set);
}
