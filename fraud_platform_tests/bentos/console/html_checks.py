"""What has to hold for every page of the console: nothing that the CSP forbids, and nothing without a name."""

from collections import Counter
from html.parser import HTMLParser

VOID = {"meta", "link", "input", "br", "hr", "img"}
NAMED_BY_TEXT = {"button", "a"}
INLINE = {"a", "b", "bdi", "small", "span", "kbd", "time", "abbr"}


class Element:
    """A tag, its attributes, its text with that of all below it, and what it is in."""

    def __init__(self, tag: str, attributes: dict[str, str], parent: "Element | None") -> None:
        self.tag, self.attributes, self.parent, self.text = tag, attributes, parent, ""

    def inside(self, tag: str) -> bool:
        return self.parent is not None and (self.parent.tag == tag or self.parent.inside(tag))


class Document(HTMLParser):
    """The elements of a page, in order; a tag that is closed without being open is an error."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.problems: list[str] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{element.tag}> is never closed" for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = Counter(name for name, _ in attrs)
        self.problems += [f"<{tag}> has {name} twice" for name, times in names.items() if times > 1]
        element = Element(tag, {name: value or "" for name, value in attrs}, self._open[-1] if self._open else None)
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].tag != tag:
            self.problems.append(f"</{tag}> closes {self._open[-1].tag if self._open else 'nothing'}")
        else:
            self._open.pop()
            if tag not in INLINE:
                self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements of a tag whose attributes have these values; `data_x` stands for data-x."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [of for of in self.elements if of.tag == tag and wanted.items() <= of.attributes.items()]

    @property
    def text(self) -> str:
        return " ".join(self.elements[0].text.split()) if self.elements else ""


def problems_of(html: str) -> list[str]:
    """Everything that is wrong with a page or a part of one."""
    page = Document(html)
    found = list(page.problems)
    ids = Counter(element.attributes["id"] for element in page.elements if "id" in element.attributes)
    found += [f"the id {name} is there {times} times" for name, times in ids.items() if times > 1]
    labelled = {element.attributes.get("for") for element in page.all("label")}
    for element in page.elements:
        found += _forbidden(element)
        found += _nameless(element, labelled)
        if element.tag == "table" and not any(of.tag == "th" and _within(of, element) for of in page.elements):
            found.append("a table has no headers")
        if element.tag == "form" and element.attributes.get("method") == "post" and not _has_token(page, element):
            found.append(f"the form to {element.attributes['action']} has no token")
    return found


def _forbidden(element: Element) -> list[str]:
    """What `script-src 'self'; style-src 'self'` does not let through, and what htmx would evaluate."""
    tag, attributes = element.tag, element.attributes
    found = [f"<{tag} {name}=…>" for name in attributes if name == "style" or name.startswith(("on", "hx-on"))]
    found += [f"<{tag} {name}={value!r}>" for name, value in attributes.items() if _evaluated(name, value)]
    if tag == "style" or (tag == "script" and (element.text.strip() or not attributes.get("src", "").startswith("/"))):
        found.append(f"inline <{tag}>")
    if tag in ("link", "img", "script") and "//" in attributes.get("href", "") + attributes.get("src", ""):
        found.append(f"<{tag}> loads from elsewhere")
    return found


def _evaluated(name: str, value: str) -> bool:
    is_address = name in ("href", "src", "action") or name.startswith("hx-")
    return (is_address and value.strip().lower().startswith(("javascript:", "js:", "data:"))) or (
        name == "hx-trigger" and "[" in value
    )


def _nameless(element: Element, labelled: set[str | None]) -> list[str]:
    tag, attributes = element.tag, element.attributes
    named = bool(attributes.get("aria-label") or attributes.get("aria-labelledby"))
    if tag in ("input", "select", "textarea") and attributes.get("type") != "hidden":
        named = named or element.inside("label") or attributes.get("id") in labelled
        return [] if named else [f"<{tag} name={attributes.get('name')}> has no label"]
    if tag in NAMED_BY_TEXT and not named and not element.text.strip():
        return [f"<{tag}> has no name"]
    if tag == "svg" and "aria-hidden" not in attributes and not named:
        return ["<svg> is neither hidden nor named"]
    return []


def _within(element: Element, outer: Element) -> bool:
    return element.parent is not None and (element.parent is outer or _within(element.parent, outer))


def _has_token(page: Document, form: Element) -> bool:
    login = form.attributes["action"].endswith("/login")
    return login or any(_within(of, form) for of in page.all("input", name="csrf_token"))
