# `make up`: a shop to click at.  `make demo`: one order, told to four systems.  `make test`: everything, on both databases.

PYTHON ?= python3
BIN := .venv/bin
DEVELOPMENT := DEBUG=true WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8,::1/128
# Throw-away values, good for nothing but `check --deploy`.
PRODUCTION = DEBUG=false BASE_URL=https://shop.example \
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') \
	ENCRYPTION_KEYS=$$($(BIN)/python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())')
# How long `make chaos` rages on each database, in seconds.
STORM_S := 150
APPS := commerce orders inventory webhooks

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Container images often set it. Each of the many processes that the suite starts would compile our modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: up demo test check chaos chaos-short bench lock clean

up: .venv/ready
	$(DEVELOPMENT) $(BIN)/python manage.py up --demo

demo: .venv/ready
	$(DEVELOPMENT) $(BIN)/python manage.py demo

test: .venv/ready-dev
	$(BIN)/python -m tests

check: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(APPS) tests benchmarks
	$(BIN)/lint-imports
	$(DEVELOPMENT) $(BIN)/python manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(DEVELOPMENT) $(BIN)/python manage.py spectacular --validate --fail-on-warn --file /dev/null

chaos: .venv/ready-dev
	$(BIN)/python -m tests.chaos --seconds $(STORM_S)

# A minute of it in all.
chaos-short: .venv/ready-dev
	$(BIN)/python -m tests.chaos --seconds 30 --together

bench: .venv/ready-dev
	$(BIN)/python -m benchmarks

# The locked files hold hashes and no index address: they install from whichever index pip is set up with.
.venv/ready: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement requirements.txt
	@touch $@

# Much of it is never imported: what is, is compiled then.
.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/pip install --quiet --no-compile --require-hashes --requirement requirements-dev.txt
	@touch $@

# Needs uv.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet pyproject.toml --output-file requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet pyproject.toml --group dev --constraints requirements.txt --output-file requirements-dev.txt

clean:
	rm -rf .venv var .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
