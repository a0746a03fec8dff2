"""Neovim as the tests use it."""
