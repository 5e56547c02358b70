my ($config, $sub, $validity, @rest);
while (defined(my $arg = shift @ARGV)) {
    if ($arg eq '-f' || $arg eq '--config') { $config = shift @ARGV }
    elsif ($arg eq '--sub') { $sub = shift @ARGV }
    elsif ($arg eq '--validity') { $validity = shift @ARGV }
    elsif ($arg =~ /^--(pull|push|create-cache|delete|configure-cache)$/) { push @rest, "$1=" . shift @ARGV }
    else { push @rest, $arg }
}
my ($from, %set) = load($config, 0);
unless (($rest[0] // '') eq 'make-token' && defined $sub && defined $validity) {
    print STDERR "usage: atticadm make-token --sub NAME --validity TIME\n";
    exit 2;
}
# A token of the stand-in can be told from others, and opens nothing.
print "standin.$sub." . unpack('%32C*', $set{signing}) . "\n";
