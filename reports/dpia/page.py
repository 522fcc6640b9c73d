"""Markdown as the source of two files: text from files stays text in it, and it becomes an offline page."""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_MARKS = re.compile(r"[\\`*_{}\[\]<>|~#&!$^@]")
_STARTS = re.compile(r"(?=[-+](?:\s|$)|--|=)")
_NUMBERS = re.compile(r"(\d+)(?=[.)](?:\s|$))")
_BARE = re.compile(r":(?=//)|(?<=\bwww)\.", re.IGNORECASE)
_ROLES = {"table": "table", "tr": "row", "th": "columnheader", "td": "cell"}
_TONES = {
    "fail": "bad", "recovered": "bad", "demonstrated": "bad", "critical": "bad", "high": "bad",
    "inconclusive": "open", "not determined": "open", "indicated": "open", "unverified": "open", "blocks": "open",
    "medium": "open", "assumed": "open", "pass": "good",
    "ran": "plain", "not run": "plain", "not measured": "plain", "not applicable": "plain",
    "not observed": "plain", "low": "plain", "none": "plain",
}  # fmt: skip
"""How a state that stands alone in bold is coloured; an open point is recognised by its first words."""


def escape(value: object) -> str:
    """Return text that Markdown shows as it is, on one line: no markup, link, picture, table or list comes of it."""
    text = "".join(mark if mark.isprintable() else " " for mark in str(value)).strip()
    text = _BARE.sub(r"\\\g<0>", _MARKS.sub(r"\\\g<0>", text))
    if _STARTS.match(text):
        return "\\" + text
    return _NUMBERS.sub(r"\1\\", text, count=1) if _NUMBERS.match(text) else text


def block(value: object) -> Markup:
    """Return text as a block of code, with a fence that it cannot close."""
    text = "".join(mark if mark.isprintable() else " " for mark in str(value)).strip()
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Markup(f"{fence}text\n{text}\n{fence}")  # noqa: S704 - Markdown; HTML is made by markdown-it alone


def own(value: str) -> Markup:
    """Return text of our own data files as it is."""
    return Markup(value)  # noqa: S704 - Markdown, and no text from elsewhere


def templates(filters: Mapping[str, Callable[..., Any]]) -> Environment:
    """Return an environment whose every ``{{ value }}`` is escaped for Markdown, unless it is already Markup."""

    def safe(value: object) -> Markup:
        if isinstance(value, Markup):
            return value
        return Markup(escape(value))  # noqa: S704 - as above

    found = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, finalize=safe,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    found.filters |= {"block": block, "own": own, **filters}
    return found


def page(text: str, title: str) -> str:
    """Return Markdown as one page: no script, no picture, no request; styles are allowed by their hash."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    _dress(tokens)
    shell = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    style = shell.get_template("dpia.css.j2").render()
    digest = "sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    body = Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - html=False: all text is escaped
    return shell.get_template("dpia.html.j2").render(title=title, style=own(style), digest=digest, body=body)


def _dress(tokens: Sequence[Token]) -> None:
    """Give headings their anchors, tables their roles and labels, and states their colours."""
    heads: list[str] = []
    column = 0
    for token, content in zip(tokens, [*tokens[1:], None], strict=True):
        inside = content.content if content is not None and content.type == "inline" else ""
        if token.type == "heading_open" and token.tag == "h2":
            token.attrSet("id", slug(inside))
        elif token.nesting == 1 and token.tag in _ROLES:
            token.attrSet("role", _ROLES[token.tag])
            if token.attrs.pop("style", None) == "text-align:right":  # an inline style, which the policy forbids
                token.attrSet("class", "num")
            heads = [] if token.tag == "table" else heads
            column = 0 if token.tag == "tr" else column
            if token.tag == "th":
                heads.append(inside)
                token.attrSet("scope", "col")
            elif token.tag == "td":
                token.attrSet("data-label", heads[column])
                column += 1
        for one, next_ in zip(token.children or [], (token.children or [])[1:], strict=False):
            if one.type == "strong_open" and (tone := _tone(next_.content)):
                one.attrSet("class", tone)


def _tone(text: str) -> str:
    return "ask" if text.startswith("[open: ") else _TONES.get(text, "")


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
