# Two commands are all the set-up: `make demo` and `make test`. VENV= puts the environment elsewhere.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test clean

demo: $(VENV)/.installed-lab
	$(BIN)/torchmoments compare --data digits --train-size 200 --width 16 --methods none labels moex \
		--seeds 20 --epochs 80 --out runs/demo

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# A stamp is written only after a complete install, so a half-made environment repairs itself.
$(VENV)/.installed-lab: pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[lab]'
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed-lab
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[lab,test]'
	touch $@

clean:
	rm -rf $(VENV)
