"""Which containers an item is in: the materialised view of `item_published`."""
