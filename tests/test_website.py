"""The website of `make docs`: it builds without a warning, no link is broken, and no name or option is missing."""

import ast
import inspect
import os
import re
import subprocess
import sys
import textwrap
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import torchmoments
import torchmoments_lab
from tests.scripts import load

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


def hook(name):
    for package in ("mkdocs", "tyro"):
        pytest.importorskip(package)
    return load(DOCS / "hooks" / f"{name}.py")


class Page(HTMLParser):
    """What a page links to, what it loads, and the anchors that it has."""

    def __init__(self, path):
        super().__init__()
        self.path, self.links, self.loaded, self.anchors = path, [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        of = dict(attributes)
        self.anchors |= {of[name] for name in ("id", "name") if of.get(name)}
        if tag == "a" and of.get("href"):
            self.links.append(of["href"])
        self.loaded += [of["src"]] if of.get("src") else []
        self.loaded += [of["href"]] if tag == "link" and of.get("href") else []


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """{path: page} of the built site."""
    for package in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    # The page of a wrong address alone has links from the root of a server.
    return {path: Page(path) for path in folder.rglob("*.html") if path.name not in ("404.html", "report.html")}


def broken(pages):
    found = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            is_there = target.is_file() and (not anchor or target not in pages or anchor in pages[target].anchors)
            found += [] if is_there else [f"{path.name}: {link}"]
    return found


@pytest.mark.slow
def test_no_link_of_the_site_is_broken(site):
    assert len(site) > 35
    assert broken(site) == []


def test_the_check_for_broken_links_finds_them(tmp_path):
    path = tmp_path / "a.html"
    path.write_text(
        '<h1 id="here">A</h1><a href="#here"></a><a href="#there"></a><a href="b.html"></a><img src="c.png">'
    )
    assert broken({path: Page(path)}) == ["a.html: #there", "a.html: b.html", "a.html: c.png"]


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    assert {link for page in site.values() for link in page.loaded if re.match(r"(https?:)?//", link)} == set()
    (folder,) = {path.parent for path in site if path.name == "index.html" and (path.parent / "search").is_dir()}
    styles = "".join(path.read_text() for path in folder.rglob("*.css"))
    assert not re.findall(r"url\([\"']?(?:https?:)?//[^)]*", styles)
    # Where a page is opened from disk, the search reads its index from a script.
    assert (folder / "search" / "search_index.js").is_file()
    assert any("iframe-worker" in link for link in site[folder / "index.html"].loaded)


@pytest.mark.slow
def test_formulas_and_signatures_are_on_the_pages_of_the_api(site):
    (text,) = (path.read_text() for path in site if path.match("api/methods.html"))
    text = unescape(re.sub(r"<[^>]+>", "", text))
    assert re.search(r"MoEx\(\s*norm: Norm = .pono.,\s+p: float = 0.5,", text)
    assert "features  out[b] = (x[b] - mean[b]) / std[b] * std[partner[b]] + mean[partner[b]]" in text


def names_of_the_api():
    return re.findall(r"^::: (\S+)$", "".join(path.read_text() for path in (DOCS / "api").glob("*.md")), re.MULTILINE)


def test_every_public_name_is_on_a_page_of_the_api():
    public = [f"{package.__name__}.{name}" for package in (torchmoments, torchmoments_lab) for name in package.__all__]
    public += ["torchmoments.lightning.Moments"]
    public += [f"torchmoments.transformers.{name}" for name in ("SiteCallback", "cross_entropy")]
    assert set(public) <= set(names_of_the_api())
    assert len(names_of_the_api()) == len(set(names_of_the_api()))


def test_mixers_are_shown_with_the_signature_that_they_have():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(hook("signatures").Mixers)
    read = griffe.load("torchmoments", search_paths=[ROOT / "src"], extensions=extensions)
    for name in torchmoments.__all__:
        kind = getattr(torchmoments, name)
        if inspect.isclass(kind) and issubclass(kind, torchmoments.Mixer) and kind is not torchmoments.Mixer:
            shown = [parameter.name for parameter in read[name].parameters]
            assert shown == ["self", *inspect.signature(kind).parameters], name


def test_a_mixer_is_shown_with_options_that_it_does_not_declare():
    griffe = pytest.importorskip("griffe")
    extensions = griffe.load_extensions(hook("signatures").Mixers)
    source = """
        import dataclasses
        import torchmoments as tm

        class Declared(tm.Mixer):
            lam: float = 0.9
            eps: float = dataclasses.field(default=1e-5, kw_only=True)

            def mix(self, x, draw):
                return x
    """
    with griffe.temporary_visited_package(
        "declaring", {"__init__.py": textwrap.dedent(source)}, extensions=extensions
    ) as read:
        names = {}
        exec(textwrap.dedent(source), names)
        shown = {one.name: str(one.default) for one in read["Declared"].parameters if one.name != "self"}
    right = inspect.signature(names["Declared"]).parameters
    assert list(shown) == list(right)
    for name, parameter in right.items():
        assert ast.literal_eval(shown[name]) == parameter.default


def test_docstrings_of_the_api_are_read_as_they_are_meant():
    griffe = pytest.importorskip("griffe")
    read = {name: griffe.load(name, search_paths=[ROOT / "src"]) for name in ("torchmoments", "torchmoments_lab")}

    def with_members(found):
        found = found.final_target if found.is_alias else found
        members = found.members.values() if found.is_class else ()
        return [found, *(member for member in members if member.docstring and not member.name.startswith("_"))]

    for name in names_of_the_api():
        package, _, rest = name.partition(".")
        for found in filter(lambda one: one.docstring, with_members(read[package][rest])):
            text = found.docstring.value
            assert not re.search(r"<[a-zA-Z/]", re.sub(r"`[^`]*`", "", text)), f"{found.path}: taken for HTML"
            # What ends with a colon would be taken for the type of what is returned.
            options = {"warnings": False, "returns_multiple_items": False, "returns_named_value": False}
            for section in griffe.parse_google(found.docstring, **options):
                if section.kind.value == "returns" and found.is_function:
                    assert [str(one.annotation) for one in section.value] == [str(found.returns)], found.path


@pytest.mark.slow
def test_every_option_of_every_command_is_on_the_page():
    from torchmoments_lab.parser import parse

    command_line = hook("command_line")
    commands, text = command_line.commands(), command_line.text()
    assert set(commands) == set(re.findall(r"^\W+(\w+) {2,}", parse(["--help"], commands, ""), re.MULTILINE))
    sections = {part.split()[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}
    by_anchor = {re.search(r"\{ #(\S+) \}", part)[1]: part for part in sections.values()}
    for name, kind in commands.items():
        own = by_anchor[name]
        linked = [by_anchor[anchor] for anchor in re.findall(r"\]\(#(settings-\w+)\)", own)]
        shown = set(re.findall(r"^`--([a-z-]+)", "\n".join([own, *linked]), re.MULTILINE))
        help_page = parse([name, "--help"], commands, "")
        there = set(re.findall(r"^. --([a-z-]+)", help_page, re.MULTILINE)) - {"help"}
        assert {flag.removeprefix("no-") for flag in there} == shown, name
        assert kind.__name__.lower() == name


def test_defaults_and_helps_are_those_of_the_settings():
    text = hook("command_line").text()
    assert "`--seeds INT|INT..INT` <small>default: `20`</small>" in text
    assert "`--augment`, `--no-augment` <small>default: off</small>" in text
    assert "`OUT` <small>required</small>\n:   Folder of a comparison, the `--out` of a compare." in text
    of_sweep = text.partition("## sweep")[2].partition("\n## ")[0]
    assert "<small>default: `validation`</small>" in of_sweep


def test_sections_between_two_comments_become_tabs():
    page = "A\n\n<!-- tabs -->\n\n### One\n\n```python\nx = 1\n```\n\n### Two\n\nB\n\n<!-- end of tabs -->\n\nC\n"
    shown = hook("tabs").on_page_markdown(page)
    assert re.split(r"\n{2,}", shown) == [
        "A",
        '=== "One"',
        "    ```python\n    x = 1\n    ```",
        '=== "Two"',
        "    B",
        "C\n",
    ]


def test_the_blocks_of_the_start_page_are_those_that_are_tested():
    """The first runs in test_documents.py; the others stand in documents that have tests of their own."""
    _, *others = re.findall(r"^```(?:python|diff)\n.*?^```$", (DOCS / "index.md").read_text(), re.DOTALL | re.MULTILINE)
    assert len(others) == 3
    for block, name in zip(others, ("programs", "lightning", "transformers"), strict=True):
        assert block in (DOCS / f"{name}.md").read_text()


@pytest.mark.parametrize("name", ["results", "cost"])
def test_the_numbers_of_a_short_page_stand_in_the_full_one(name):
    short, full = ((DOCS / f"{page}.md").read_text() for page in (name, f"{name}-in-full"))
    numbers = re.findall(r"\d+\.\d+ ± \d+\.\d+|\d+%? \(\S+ to \d+%\)|\d+\.\d+", " ".join(short.split()))
    assert len(numbers) > 5
    # An interval after a percentage, as the table of claims has it.
    full = " ".join(full.replace("95% CI ", "").split())
    assert [number for number in numbers if number not in full] == []
