"""The nouns and rules of Bellhop: dataclasses, pure functions, the error tree. Standard library only.

Times are integers: microseconds since the Unix epoch, UTC (`Micros`). Enums carry the numbers of the contract.
"""

Micros = int

MILLISECOND: Micros = 1_000
SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR
