# `make demo`, `make test` and `make docs` are all the set-up. VENV= puts the environment elsewhere, PYTHON= chooses the
# Python, WITH= other versions of packages, such as WITH='torch==2.6.0 torchvision==0.21.0'.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo docs test
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-lab
	$(BIN)/torchmoments compare --data digits --train-size 200 --width 16 --epochs 80 \
		--methods none labels:lam=0.5 moex:lam=0.5 --seeds 20 --out runs/demo

test: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The website, into site/: open site/index.html. Any broken link ends it.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# A stamp is written only after its install succeeded, so an install that was stopped half-way goes on. An environment
# without a working pip is made anew; only a folder that is an environment is ever emptied.
$(VENV)/.installed-lab: EXTRAS := lab
$(VENV)/.installed-docs: EXTRAS := docs,lab
$(VENV)/.installed-test: EXTRAS := export,lab,lightning,ray,tensorboard,test,transformers
$(VENV)/.installed-docs $(VENV)/.installed-lab $(VENV)/.installed-test: pyproject.toml
	@echo "Installing into $(VENV). The first time takes some minutes: PyTorch is about 6 GB."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
		$(PYTHON) -m venv $$(test ! -e $(VENV)/pyvenv.cfg || echo --clear) $(VENV)
	@$(PIP) install -e '.[$(EXTRAS)]' $(WITH)
	@touch $@
