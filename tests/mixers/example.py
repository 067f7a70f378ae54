"""The method of docs/adding-a-method.md as the page has it, `RMSExchange`, and its oracle `rms`."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "adding-a-method.md"
METHOD, ORACLE, *_ = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)

# Here, so that pickle finds the class.
exec(compile(METHOD, str(PAGE), "exec"))
exec(compile(ORACLE, str(PAGE), "exec"))
