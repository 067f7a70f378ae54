"""Takes into the site what the pages link to outside of docs/: figures and data of results/, tests, examples.

The links stay as they are on disk, so that they work wherever the repository is read. A file keeps its path in the
site; one that is Markdown becomes a page, and its own links are followed; Python is shown as a page, because a browser
would save it instead.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

LINK = re.compile(r"(?<=\]\()[^)\s#]+")
DOCS = "docs/"
# In the navigation, though no page has to link to it.
ALWAYS = ("CHANGELOG.md",)
PYTHON = "---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n`````python\n{text}\n`````\n"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    root = Path(config.docs_dir).parent
    found = [DOCS + file.src_uri for file in files.documentation_pages()]
    found += ALWAYS
    for path in found:
        if not path.startswith(DOCS):
            files.append(_file(path, root, config))
        if path.endswith(".md") and (root / path).is_file():
            targets = (_target(path, link) for link in LINK.findall((root / path).read_text()))
            found += [of for of in targets if of not in found and not of.startswith(DOCS) and (root / of).is_file()]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    here = page.file.src_uri
    path = here if _is_outside(page.file) else DOCS + here

    def rewritten(link: re.Match[str]) -> str:
        target = _target(path, link[0])
        uri = target.removeprefix(DOCS) if target.startswith(DOCS) else _uri(target)
        file = files.get_file_from_path(uri)
        # What is no file is left for MkDocs to warn of.
        return link[0] if file is None else posixpath.relpath(uri, posixpath.dirname(here) or ".")

    return LINK.sub(rewritten, markdown)


def _target(path: str, link: str) -> str:
    """The path in the repository of what a page at `path` links to."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def _uri(path: str) -> str:
    """What a file of the repository is called in the site."""
    return f"{path}.md" if path.endswith(".py") else path


def _is_outside(file: File) -> bool:
    return file.generated_by is not None


def _file(path: str, root: Path, config: MkDocsConfig) -> File:
    inclusion = InclusionLevel.INCLUDED if path in ALWAYS else InclusionLevel.NOT_IN_NAV
    if path.endswith(".py"):
        text = PYTHON.format(path=path, text=(root / path).read_text().rstrip())
        return File.generated(config, _uri(path), content=text, inclusion=inclusion)
    return File.generated(config, path, abs_src_path=str(root / path), inclusion=inclusion)
