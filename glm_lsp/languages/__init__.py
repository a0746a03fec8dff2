"""What we know of each language: one row, one query, and the trees they give.

Never edits or judges a file: it says what a text consists of, and others decide.
"""

from __future__ import annotations

from glm_lsp.languages.facts import Definition, Facts, facts
from glm_lsp.languages.parsed import Fault, Parsed, Symbol, find_symbol, parse
from glm_lsp.languages.table import LANGUAGES, Language, language_of

__all__ = [
    "LANGUAGES",
    "Definition",
    "Facts",
    "Fault",
    "Language",
    "Parsed",
    "Symbol",
    "facts",
    "find_symbol",
    "language_of",
    "parse",
]
