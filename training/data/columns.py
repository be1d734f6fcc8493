"""Names of the columns of interactions and encoded sequences, in one place."""

from typing import Final

# Interactions (contract 2): tab-separated without header, in this order.
LABEL: Final = "label"
USER: Final = "user_id"
ITEM: Final = "item_handle"
TIMESTAMP: Final = "timestamp"
CATEGORY: Final = "item_category"
INTERACTION_COLUMNS: Final = (LABEL, USER, ITEM, TIMESTAMP, CATEGORY)

# Encoded sequences (contract 3).
USER_ID: Final = "user"
ITEM_ID: Final = "item"
CATEGORY_ID: Final = "category"
POSITION: Final = "position"
SPLIT: Final = "split"
SEQUENCE_COLUMNS: Final = (USER_ID, ITEM_ID, CATEGORY_ID, TIMESTAMP, POSITION, SPLIT)

SPLITS: Final = ("train", "valid", "test")  # index = value of the split column
