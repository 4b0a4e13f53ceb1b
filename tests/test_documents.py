"""The documents: links, the index, and README.zh.md, which says the same as README.md."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for pattern in ("*.md", "docs/*.md", "examples/*.md", "bench/*.md", "tests/*/*.md")
               for path in ROOT.glob(pattern))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def without_code(text):
    return re.sub(r"^```.*?^```$|`[^`\n]*`", "", text, flags=re.M | re.S)


def anchors(page):
    """As GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", without_code_blocks(page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def without_code_blocks(text):
    return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    for link in LINK.findall(without_code(page.read_text())):
        path, _, anchor = link.partition("#")
        if re.match("[a-z]+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def test_index():
    """Each page for readers is in docs/README.md."""
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text())}
    pages = {page for page in PAGES if page.parent.name not in ("bench", "stores")}
    assert pages - linked <= {index}


def test_map():
    """CONTRIBUTING.md tells what each folder is for."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    described = set(re.findall(r"^\| (\w+)/ \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    assert folders - {"build", "var"} == described


def blocks(text, kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.M | re.S)


def commands(text):
    """What is run, without comments."""
    shell = "".join(blocks(text, "sh"))
    return [re.sub(r"(^|\s+)# .*", "", line) for line in shell.splitlines() if not line.startswith("#")]


def rows(text):
    """The code in each row of each table."""
    return [re.findall("`[^`]+`", line) for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("of", [
    lambda text: [level for level, _ in re.findall("^(#+) (.*)$", without_code_blocks(text), re.M)],
    commands,
    rows,
    lambda text: blocks(text, "json"),
    lambda text: len(blocks(text, "text")),
    lambda text: [link for link in LINK.findall(without_code(text)) if "README" not in link],
    lambda text: len(re.findall("^- ", without_code_blocks(text), re.M)),
], ids=["headings", "commands", "tables", "answers", "diagrams", "links", "lists"])
def test_readme_in_chinese(of):
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh.md"))
    assert of(chinese) == of(english) and of(english)


def test_sharding():
    """docs/scale.md and the store's tests distribute the tables that there are."""
    section = re.search(r"^## Sharding by Citus\n(.*?)^## ", (ROOT / "docs/scale.md").read_text(), re.M | re.S)[1]
    distributed = re.findall(r"create_distributed_table\('(\w+)', '(\w+)'", section)
    others = re.findall(r"create_reference_table\('(\w+)'", section)
    tables = re.findall(r"^CREATE TABLE (\w+) \(", (ROOT / "store/postgresql/schema.sql").read_text(), re.M)
    assert {"workers", *others, *(table for table, _ in distributed)} == set(tables)
    tests = re.findall(r"\[''(\w+)'', ''(\w+)''\]", (ROOT / "tests/unit/temporary.h").read_text())
    assert sorted(tests) == sorted(distributed)


def test_length():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
