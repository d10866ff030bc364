"""What the documentation site has beside the pages of docs/: the contract and its errors, from their comments.

Hooks of MkDocs (https://www.mkdocs.org/user-guide/configuration/#hooks). Links to the sources, which are no pages, lead
to the repository.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
SET = FileDescriptorSet.FromString((ROOT / "proto/bellhop/v1/descriptors.binpb").read_bytes())
OURS = [file for file in SET.file if file.package == "bellhop.v1"]
KINDS = {
    value.number: value.name.removeprefix("TYPE_").lower() for value in FieldDescriptorProto.Type.DESCRIPTOR.values
}

# What a browser fetches by itself; where a link leads is for its reader.
_FOREIGN = re.compile(
    r"<(?:script|img|iframe)[^>]+src=[\"']?https?://[^\s>]+|<link[^>]+stylesheet[^>]+https?://[^\s>]+"
)
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Puts every decision into the navigation."""
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    *_, inside = config["nav"]
    inside["Inside"].append({"Decisions": ["decisions/index.md", *(f"decisions/{page.name}" for page in pages)]})
    config["nav"].insert(0, {"Bellhop": "index.md"})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages that are made here, and the list of decisions."""
    decisions = sorted(file.src_uri for file in files if file.src_uri.startswith("decisions/"))
    lines = ["# Decisions", "", "Why things are as they are, one page each.", ""]
    lines += [f"- [{_title(ROOT / 'docs' / uri)}]({posixpath.basename(uri)})" for uri in decisions]
    for uri, text in (
        ("contract.md", contract()),
        ("errors.md", errors()),
        ("decisions/index.md", "\n".join(lines)),
        ("index.md", (ROOT / "README.md").read_text("utf-8")),
    ):
        files.append(File.generated(config, uri, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Leads links to what is no page to the repository."""
    home = "" if page.file.src_uri == "index.md" else posixpath.join("docs", posixpath.dirname(page.file.src_uri))

    def lead(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        path = posixpath.normpath(posixpath.join(home, target))
        if path.startswith("proto/bellhop/v1"):
            path = "docs/errors.md" if path.endswith("error_reason.proto") else "docs/contract.md"
        inside = path.removeprefix("docs/")
        for page_of in (inside, f"{inside}/index.md"):
            if path.startswith("docs/") and files.get_file_from_path(page_of) is not None:
                return f"]({posixpath.relpath(page_of, posixpath.dirname(page.file.src_uri) or '.')}{anchor})"
        return f"]({config['repo_url']}/blob/main/{path}{anchor})"

    return _LINK.sub(lead, markdown) if page.file.src_uri != "contract.md" else markdown


def on_post_build(config: Any) -> None:
    """Looks whether a page would ask anybody else for a part of it. Raises PluginError."""
    for page in Path(config["site_dir"]).rglob("*.html"):
        if found := _FOREIGN.search(page.read_text("utf-8")):
            raise PluginError(f"{page.name} loads {found[0]}")


def contract() -> str:
    """Every service, message and enum, with the comments that are the product's manual."""
    lines = ["# The contract", "", "What the comments of `bellhop.v1` say.", ""]
    for file in OURS:
        told = _comments(file)
        for s, service in enumerate(file.service):
            lines += [f"## {service.name}", "", told.get((6, s), ""), ""]
            for m, method in enumerate(service.method):
                request, response = (_name(each) for each in (method.input_type, method.output_type))
                streams = ["stream " * method.client_streaming, "stream " * method.server_streaming]
                lines += [f"### {service.name}.{method.name}", ""]
                lines += [
                    f"{streams[0]}{_link(request)} → {streams[1]}{_link(response)}",
                    "",
                    told.get((6, s, 2, m), ""),
                    "",
                ]
    lines += ["## Messages", ""]
    for file in OURS:
        told = _comments(file)
        for m, message in enumerate(file.message_type):
            lines += [f"### {message.name}", "", told.get((4, m), ""), "", *_fields(message, told, m), ""]
    lines += ["## Enums", ""]
    for file in OURS:
        told = _comments(file)
        for e, enum in enumerate(file.enum_type):
            lines += [f"### {enum.name}", "", told.get((5, e), ""), ""]
            for v, value in enumerate(enum.value):
                lines += [f"- `{value.name}` = {value.number}: {_line(told.get((5, e, 2, v), ''))}"]
            lines.append("")
    return "\n".join(lines)


def errors() -> str:
    """Every reason with its status code, what it means and what to do."""
    file = next(each for each in OURS if each.name.endswith("error_reason.proto"))
    told = _comments(file)
    lines = ["# Errors", "", told.get((5, 0), ""), ""]
    for v, value in enumerate(file.enum_type[0].value):
        if value.number:
            lines += [f"## {value.name.removeprefix('ERROR_REASON_')}", "", told.get((5, 0, 2, v), ""), ""]
    return "\n".join(lines)


def _fields(message: DescriptorProto, told: dict[tuple[int, ...], str], index: int) -> list[str]:
    lines = []
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for f, field in enumerate(message.field):
        entry = maps.get(_name(field.type_name))
        kind = _link(_name(field.type_name)) if field.type_name else KINDS[field.type]
        if entry is not None:
            kind = "map of texts"
        elif field.label == FieldDescriptorProto.LABEL_REPEATED:
            kind = f"list of {kind}"
        lines.append(f"- `{field.name}` = {field.number}, {kind}: {_line(told.get((4, index, 2, f), ''))}")
    return lines or ["No fields."]


def _comments(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    found = {}
    for place in file.source_code_info.location:
        lines = [line.removeprefix(" ") for line in place.leading_comments.splitlines()]
        found[tuple(place.path)] = "\n".join(lines).strip()
    return found


def _line(text: str) -> str:
    return " ".join(text.split())


def _name(full: str) -> str:
    return full.rpartition(".")[2]


def _link(name: str) -> str:
    known = any(name == each.name for file in OURS for each in (*file.message_type, *file.enum_type))
    return f"[{name}](#{name.lower()})" if known else f"`{name}`"


def _title(page: Path) -> str:
    return page.read_text("utf-8").partition("\n")[0].removeprefix("# ")
