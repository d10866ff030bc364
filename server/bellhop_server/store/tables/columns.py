"""What all tables share: the naming of their constraints, and the types of their columns."""

from sqlalchemy import BigInteger, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Ids sort by code point on both databases: SQLite's BINARY does, PostgreSQL's "C" does.
Id = String(128).with_variant(String(128, collation="C"), "postgresql")
# SQLite fills only an INTEGER PRIMARY KEY by itself.
Ref = BigInteger().with_variant(Integer, "sqlite")
Time = BigInteger
