"""Names of the columns that interactions may have beside the five of contract 2, in one place.

They exist in Parquet only. An importer writes those that its source knows; a missing value is null.
"""

from typing import Final

KIND: Final = "kind"  # one of KINDS
KINDS: Final = ("view", "cart", "purchase")
WEIGHT: Final = "weight"  # float, how much an event of this kind counts
QUANTITY: Final = "quantity"  # int64, pieces
BASKET: Final = "basket"  # text, id of what was bought together: a set, whose rows have no order
SESSION: Final = "session"  # text, id of one visit
AGE: Final = "age"  # text, band; of the user
INCOME: Final = "income"  # text, band; of the user
