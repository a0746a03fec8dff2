#!/bin/sh
# What `make try` runs: a real model documents a sample project, and its tests still pass.
set -eu
PATH="$PWD/.venv/bin:$PATH"
work="$PWD/.cache/try/shop"

glm-lsp engine start --tryout
# Whatever happens below, the engine does not stay behind.
trap 'glm-lsp engine stop' EXIT

rm -rf "$work"
mkdir -p "$(dirname "$work")"
cp -R examples/shop "$work"
cd "$work"
git init -q .
git -c user.name=try -c user.email=try@localhost add .
git -c user.name=try -c user.email=try@localhost commit -q -m "A sample project"

printf '\n$ glm-lsp refactor "document what has no docstring" shop --action document --apply --verify "pytest -q"\n\n'
glm-lsp refactor "document what has no docstring" shop --action document --apply --verify "pytest -q"
printf '\nThe sample project is in .cache/try/shop; take the run back there with: glm-lsp undo\n'
