my ($config, $listen, $mode) = (undef, undef, 'monolithic');
while (defined(my $arg = shift @ARGV)) {
    my $value = $arg =~ s/^(--\w[\w-]*)=(.*)$/$1/s ? $2 : undef;
    if ($arg eq '-f' || $arg eq '--config') { $config = $value // shift @ARGV }
    elsif ($arg eq '-l' || $arg eq '--listen') { $listen = $value // shift @ARGV }
    elsif ($arg eq '--mode') { $mode = $value // shift @ARGV }
    elsif ($arg eq '-V' || $arg eq '--version') { print "attic-server 0.1.0 (a stand-in of the miniature nixpkgs)\n"; exit 0 }
    else { print STDERR "error: unexpected argument '$arg' found\n"; exit 2 }
}
unless ($mode =~ /^(monolithic|api-server|garbage-collector|db-migrations|garbage-collector-once|check-config)$/) {
    print STDERR "error: invalid value '$mode' for '--mode <MODE>'\n";
    exit 2;
}
print STDERR "Attic Server 0.1.0 (release)\n";
my ($from, %set) = load($config, $mode eq 'monolithic');
if ($mode eq 'check-config') { print STDERR "Config looks good!\n"; exit 0 }

# The database of the stand-in is a text of one line for each migration.
my ($database, $query) = $set{'database.url'} =~ m|^sqlite://([^?]*)\??(.*)$| or fail('Failed to connect to database: this stand-in has SQLite only');
$query eq 'mode=rwc' || -e $database or fail('Failed to connect to database: unable to open database file');
open(my $handle, '+>>', $database) or fail('Failed to connect to database: unable to open database file');
if ($mode eq 'monolithic' || $mode eq 'db-migrations') {
    print STDERR "Running migrations...\n";
    print $handle "create table cache\n" unless -s $database;
    close $handle;
}
exit 0 if $mode =~ /^(db-migrations|garbage-collector-once)$/;
if ($mode eq 'garbage-collector') { sleep }

my ($address, $port) = ($listen // $set{listen} // '[::]:8080') =~ /^\[?([0-9a-f.:]*?)\]?:(\d+)$/ or fail('invalid socket address syntax');
# 10, 2, 1, 6: AF_INET6, AF_INET, SOCK_STREAM, TCP; a machine may have no IPv6
my $six = $address =~ /:/ && socket(SERVER, 10, 1, 6) && setsockopt(SERVER, 1, 2, 1)
    && bind(SERVER, pack('S n N a16 N', 10, $port, 0, $address eq '::1' ? "\0" x 15 . "\1" : "\0" x 16, 0));
$six || socket(SERVER, 2, 1, 6) && setsockopt(SERVER, 1, 2, 1)
    && bind(SERVER, pack('S n C4 x8', 2, $port, $address =~ /:/ ? (0, 0, 0, 0) : split(/\./, $address))) or fail("$!");
listen(SERVER, 16) or fail("$!");
print STDERR "Listening on $address:$port...\n";

while (accept(CLIENT, SERVER)) {
    my $request = <CLIENT> // next;
    while (defined(my $line = <CLIENT>)) { last if $line =~ /^\r?\n$/ }
    my ($status, $body) = ('200 OK', '');
    if ($request =~ m|^GET /stand-in |) {
        my $storage = $set{'storage.path'} // '';
        make($storage);
        my $writable = open(my $probe, '>', "$storage/probe") ? 'yes' : "no: $!";
        $body = join '', map { "$_\n" } "configuration: $from", "signing: $set{key}", "migrated: " . (-s $database ? 'yes' : 'no'),
            "storage writable: $writable", "user: $>", "certificates: " . (-s $ENV{SSL_CERT_FILE} ? 'yes' : 'no');
    } elsif ($request =~ m|^GET / |) {
        $body = "<h1>attic</h1>\n";
    } else {
        $status = -s $database ? '404 Not Found' : '500 Internal Server Error';
    }
    my $length = length $body;
    print CLIENT "HTTP/1.1 $status\r\nContent-Length: $length\r\nConnection: close\r\n\r\n$body";
    close CLIENT;
}
