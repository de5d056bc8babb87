"""What every page of a report must hold, read from its source: nothing from the network, nothing missing, text alternatives."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes that make a browser fetch something; `href` of <a> only leads there when a reader clicks.
LOADING = {"src", "srcset", "poster", "data", "background", "formaction", "action"}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
REMOTE = re.compile(r"^\s*([a-z][a-z0-9+.-]*:)?//", re.I)


class _Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.loads: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.problems: list[str] = []
        self.tags: list[str] = []
        self.styles = ""
        self.viewport = self.language = False

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        if tag not in VOID:
            self.tags.append(tag)
        self.loads += [(f"<{tag} {name}>", value) for name, value in values.items() if name in LOADING]
        if tag == "link":
            self.loads.append(("<link href>", values.get("href", "")))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img" and not values.get("alt", "").strip():
            self.problems.append(f"image without a text alternative: {values.get('src', '')[:60]}")
        if tag == "meta" and values.get("name") == "viewport":
            self.viewport = "width=device-width" in values.get("content", "")
        self.language |= tag == "html" and bool(values.get("lang"))
        self.styles += values.get("style", "")
        if "id" in values:
            self.ids.append(values["id"])

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.tags or self.tags[-1] != tag:
            self.problems.append(f"</{tag}> closes {'<' + self.tags[-1] + '>' if self.tags else 'nothing'}")
        if tag in self.tags:
            while self.tags.pop() != tag:
                pass

    def handle_data(self, data):
        if self.tags and self.tags[-1] == "style":
            self.styles += data


def check_page(path: Path) -> list[str]:
    """Problems of one page, in words; an empty list is a good page."""
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    problems = page.problems + [f"<{tag}> is never closed" for tag in page.tags if tag not in {"p", "li", "td", "th", "tr", "dt", "dd"}]
    loads = page.loads + [("style sheet", match) for match in re.findall(r"url\(\s*['\"]?([^'\")]+)", page.styles)]
    if "@import" in page.styles:
        problems.append("style sheet imports another")
    for where, address in loads:
        if REMOTE.match(address):
            problems.append(f"{where} loads from the network: {address[:80]}")
        elif not address.startswith("data:") and not _target(path, address).is_file():
            problems.append(f"{where} is missing: {address[:80]}")
    problems += [f"link leads nowhere: {link}" for link in page.links if not _link_works(path, link, page.ids)]
    problems += [f"id {name!r} stands twice" for name in sorted({name for name in page.ids if page.ids.count(name) > 1})]
    if not page.viewport:
        problems.append("no viewport for phones")
    if not page.language:
        problems.append("no language on <html>")
    return problems


def _target(path: Path, address: str) -> Path:
    return path.parent / unquote(urlsplit(address).path)


def _link_works(path: Path, link: str, ids: list[str]) -> bool:
    if link.startswith("#"):
        return unquote(link[1:]) in ids
    return bool(REMOTE.match(link)) or link.startswith("mailto:") or _target(path, link).is_file()
