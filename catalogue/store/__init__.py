"""What is stored of `item_published` on disk."""
