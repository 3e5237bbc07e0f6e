# What a Perl application does, with DBD::Pg. Arguments: data source, user, password, first of a
# thousand free keys. Prints "ok NAME" for each part that worked.
use strict;
use warnings;
use utf8;
use DBI;
use DBD::Pg qw(:pg_types);

my ($source, $user, $password, $key) = @ARGV;
my $unicode = "Grüße, 世界 \x{1f418} it's \"quoted\" \\ \$1";

my $state = '';  # of the last error: a handle forgets it when a statement of its own goes

sub connected {
    my %more = @_;
    return DBI->connect($source, $user, $password, {RaiseError => 1, PrintError => 0,
            HandleError => sub { $state = $_[1]->state; 0 }, AutoCommit => 1, %more});
}

sub same {
    my ($expected, $found) = @_;
    my ($left, $right) = map { defined $_ ? $_ : 'NULL' } ($expected, $found);
    die "expected $left, found $right\n" . join(' ', caller) if $left ne $right;
}

sub fails {
    my ($expected, $action) = @_;
    die "no error $expected\n" if eval { $action->(); 1 };
    same($expected, $state);
}

# pg_server_prepare: 0 sends everything anew, 1 (the default) prepares on the server.
for my $prepare (0, 1) {
    my $db = connected(pg_server_prepare => $prepare, pg_switch_prepared => 1);
    my $other = connected();
    my $id = $key++;
    my $insert = $db->prepare('INSERT INTO things (id, medium, amount, ratio, label, active, born, words, data)'
        . ' VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    $insert->bind_param(9, undef, {pg_type => PG_BYTEA});
    same(1, $insert->execute($id, -7, '12345678901234567890.5', 0.25, $unicode, 1, '2024-02-29',
            ['', undef, 'x y'], join('', map { chr } 0 .. 255)));
    same(1, $insert->execute($key++, (undef) x 8));
    # One key, and a range that may be on any shard; more often than pg_switch_prepared.
    for my $where ('id = ?', 'id BETWEEN ? AND ?') {
        my $select = $db->prepare("SELECT * FROM things WHERE $where");
        for (1 .. 5) {
            $select->execute(($id) x ($where =~ tr/?//));
            my $row = $select->fetchrow_hashref;
            same($id, $row->{id});
            same(-7, $row->{medium});
            same('12345678901234567890.5', $row->{amount});
            same(0.25, $row->{ratio});
            same($unicode, $row->{label});
            same(1, $row->{active});
            same('2024-02-29', $row->{born});
            same('x y', $row->{words}[2]);
            same(undef, $row->{words}[1]);
            same(join('', map { chr } 0 .. 255), $row->{data});
            same(undef, $select->fetchrow_hashref);
            $select->execute(($id + 1) x ($where =~ tr/?//));
            $row = $select->fetchrow_hashref;
            same(undef, $row->{$_}) for grep { $_ ne 'id' } keys %$row;
            $select->finish;
        }
    }
    print "ok types $prepare\n";

    my $find = 'SELECT label FROM things WHERE id = ?';
    $id = $key++;
    $db->begin_work;
    $db->do('INSERT INTO things (id, label) VALUES (?, ?)', undef, $id, 'first');
    same(undef, $other->selectrow_array($find, undef, $id));
    $db->rollback;
    same(undef, $db->selectrow_array($find, undef, $id));
    $db->{AutoCommit} = 0;
    $db->do('INSERT INTO things (id, label) VALUES (?, ?)', undef, $id, 'second');
    $db->commit;
    same('second', $other->selectrow_array($find, undef, $id));
    fails('23505', sub { $db->do('INSERT INTO things (id) VALUES (?)', undef, $id) });
    # To deallocate what it has prepared, the driver may have rolled back already.
    fails('25P02', sub { $db->selectrow_array($find, undef, $id) }) if !$prepare;
    $db->rollback;
    $db->do('UPDATE things SET label = ? WHERE id = ?', undef, 'third', $id);
    $db->pg_savepoint('here');
    fails('22012', sub { $db->do('UPDATE things SET medium = 1 / 0 WHERE id = ?', undef, $id) });
    $db->pg_rollback_to('here');
    $db->pg_release('here');
    $db->commit;
    $db->{AutoCommit} = 1;
    same('third', $other->selectrow_array($find, undef, $id));
    print "ok transactions $prepare\n";

    my $rows = $db->selectall_arrayref('SELECT * FROM items ORDER BY id');
    same(1000, scalar @$rows);
    same("$_ item $_", "$rows->[$_ - 1][0] $rows->[$_ - 1][1]") for 1 .. 1000;
    my $one = $db->prepare('SELECT label FROM items WHERE id = ?');
    for my $n (map { 20 * $_ } 1 .. 50) {
        $one->execute($n);
        same("item $n", $one->fetchrow_array);
        $one->finish;
    }
    my $many = $db->prepare('UPDATE things SET medium = ? WHERE id = ?');
    same(2, $many->execute_array({}, [1, 2], [$id, $id]));
    same(2, $db->selectrow_array('SELECT medium FROM things WHERE id = ?', undef, $id));
    print "ok rows $prepare\n";
    $_->disconnect for $db, $other;
}

for (1 .. 10) {
    my $db = connected();
    same(5, $db->selectrow_array('SELECT id FROM items WHERE id = ?', undef, 5));
    same(1, $db->ping);
    $db->disconnect;
}
print "ok again and again\n";
