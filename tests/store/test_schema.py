"""Migrations: in order, once, again after a cut."""

import pytest

from controltower.store.address import StoreAddress
from controltower.store.client import Client, connect
from controltower.store.errors import SchemaError
from controltower.store.schema import Migration, migrate, migrations, pending, version

ONE = Migration(
    1, "0001_one.sql", ("CREATE TABLE a (x Int64) ENGINE = MergeTree ORDER BY x", "INSERT INTO a VALUES (1)")
)
TWO = Migration(2, "0002_two.sql", ("CREATE TABLE b (x Int64) ENGINE = MergeTree ORDER BY x",))


@pytest.fixture
def client(any_address: StoreAddress) -> Client:
    """A writer on a fresh database without tables."""
    return connect(any_address)


def test_an_empty_store_has_version_0(client: Client) -> None:
    """Nothing is applied at first, and asking writes nothing."""
    assert version(client) == 0
    assert pending(client, [ONE, TWO]) == ["0001_one.sql", "0002_two.sql"]
    assert client.query("SHOW TABLES").row_count == 0


def test_migrations_are_applied_in_order_and_once(client: Client) -> None:
    """Migrating twice applies once and says what it did."""
    assert migrate(client, [ONE]) == ["0001_one.sql"]
    assert version(client) == 1
    assert migrate(client, [ONE, TWO]) == ["0002_two.sql"]
    assert migrate(client, [ONE, TWO]) == []
    assert pending(client, [ONE, TWO]) == []
    assert client.command("SELECT count() FROM a") == 1


def test_the_programs_own_migrations_apply(client: Client) -> None:
    """What ships can be applied to an empty store, and is complete then."""
    assert migrate(client) == [migration.name for migration in migrations()]
    assert pending(client) == []
    assert version(client) == migrations()[-1].number


def test_a_failing_statement_is_named_and_can_be_run_again(client: Client) -> None:
    """What fails is named with its file and position; once its cause is gone the rest is applied."""
    client.command("CREATE TABLE b (y String) ENGINE = Memory")
    with pytest.raises(SchemaError, match=r"0002_two\.sql, statement 1 of 1 failed \(CREATE TABLE b .*Code: 57"):
        migrate(client, [ONE, TWO])
    with pytest.raises(SchemaError, match=r"0002_two\.sql, statement 1 of 1"):  # it is not taken for ours
        migrate(client, [ONE, TWO])
    client.command("DROP TABLE b SYNC")

    assert version(client) == 1
    assert migrate(client, [ONE, TWO]) == ["0002_two.sql"]
    assert client.command("SELECT count() FROM a") == 1


def test_a_started_statement_that_exists_counts_as_done(client: Client) -> None:
    """The answer "exists already" is what a repeated statement hopes for."""
    migrate(client, [ONE])
    client.command("CREATE TABLE b (x Int64) ENGINE = MergeTree ORDER BY x")
    client.command("INSERT INTO schema_version SELECT 2, '0002_two.sql', 1, '', 'started', now64(6), 1")

    assert migrate(client, [ONE, TWO]) == ["0002_two.sql"]


MANY = Migration(
    1,
    "0001_many.sql",
    (*(f"CREATE TABLE t{n} (x Int64) ENGINE = MergeTree ORDER BY x" for n in range(3)), "INSERT INTO t0 VALUES (1)"),
)


@pytest.mark.parametrize("foreign", range(3))
def test_what_is_noted_together_fails_apart(client: Client, foreign: int) -> None:
    """The statement that fails is named, what came before it holds, and neither it nor what follows is taken for ours."""
    client.command(f"CREATE TABLE t{foreign} (y String) ENGINE = Memory")
    for _ in range(2):
        with pytest.raises(SchemaError, match=rf"0001_many\.sql, statement {foreign + 1} of 4 failed .*Code: 57"):
            migrate(client, [MANY])
    client.command(f"DROP TABLE t{foreign} SYNC")

    assert migrate(client, [MANY]) == ["0001_many.sql"]
    assert client.command("SELECT count() FROM t0") == 1


@pytest.mark.parametrize("made", range(1, 4))
def test_what_was_cut_off_among_others_goes_on(client: Client, made: int) -> None:
    """Of statements that were noted together, those that ran answer that they exist already."""
    for n in range(made):
        client.command(f"CREATE TABLE t{n} (x Int64) ENGINE = MergeTree ORDER BY x")
    migrate(client, [])
    client.command(
        "INSERT INTO schema_version SELECT 1, '0001_many.sql', number + 1, '', 'started', now64(6), 1 FROM numbers(3)"
    )

    assert migrate(client, [MANY]) == ["0001_many.sql"]
    assert client.command("SELECT count() FROM t0") == 1


def test_a_newer_store_is_refused(client: Client) -> None:
    """A store that knows more than the program is not touched."""
    migrate(client, [ONE, TWO])

    for act in (migrate, pending):
        with pytest.raises(SchemaError, match="schema 2 and this program knows 1; upgrade controltower"):
            act(client, [ONE])


def test_an_applied_migration_must_not_change(client: Client) -> None:
    """A changed text of an applied statement is refused; layout and comments are not text."""
    migrate(client, [ONE])
    layout = Migration(1, ONE.name, (f"-- why\n{ONE.statements[0]}", ONE.statements[1]))
    changed = Migration(1, ONE.name, (ONE.statements[0], "INSERT INTO a VALUES (2)"))

    assert migrate(client, [layout]) == []
    with pytest.raises(SchemaError, match=r"0001_one\.sql was applied with another statement 2 "):
        migrate(client, [changed])
    with pytest.raises(SchemaError, match=r"0001_one\.sql was applied with other statements "):
        migrate(client, [Migration(1, ONE.name, (*ONE.statements, "SELECT 1"))])


def test_the_shipped_files_are_numbered_without_gaps() -> None:
    """Numbers are unique and ascending, so that order is never a question."""
    numbers = [migration.number for migration in migrations()]

    assert numbers == sorted(set(numbers))
    assert all(migration.statements for migration in migrations())
