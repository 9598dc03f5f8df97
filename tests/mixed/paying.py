"""A nightly job that nobody can change: pays what is posted in a table, all by one payment."""

import os
import sys

import sqlalchemy

table, payment = sys.argv[1:]
engine = sqlalchemy.create_engine(os.environ["DATABASE_URL"])
with engine.begin() as connection:
    paid = connection.execute(
        sqlalchemy.text(
            f"UPDATE {table} SET status = 'paid', payment = :payment, updated_at = now() WHERE status = 'posted'"
        ),
        {"payment": payment},
    )
print(f"{paid.rowcount} paid")
