"""Makes tabs of the `###` sections between the comments `<!-- tabs -->` and `<!-- end of tabs -->`.

So a page reads well where it is not built, too: there the sections follow one another.
"""

import re
from textwrap import indent
from typing import Any

GROUP = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- end of tabs -->$", re.DOTALL | re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return GROUP.sub(lambda group: _tabs(group[1]), markdown)


def _tabs(sections: str) -> str:
    _, *parts = re.split(r"^### (.+)$", sections, flags=re.MULTILINE)
    titles, texts = parts[::2], parts[1::2]
    return "\n".join(f'=== "{title}"\n{indent(text, "    ")}' for title, text in zip(titles, texts, strict=True))
