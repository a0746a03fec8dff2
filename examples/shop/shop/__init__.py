"""A small shop: a cart, taxes and a stock of goods."""
