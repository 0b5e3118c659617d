"""`GET /docs`: the OpenAPI document as a page that needs no script."""

import json
from pathlib import Path
from typing import Any

import jinja2

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
)


def page(document: dict[str, Any]) -> str:
    """The routes, then the types that they name."""
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "summary": operation["summary"],
            "roles": operation.get("description", "For everybody."),
            "parameters": operation.get("parameters", []),
            "body": _body(operation),
            "answers": [(status, _answer(answer)) for status, answer in operation["responses"].items()],
        }
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    types = [
        {"name": name, "description": schema.get("description", ""), "fields": _fields(schema)}
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return _TEMPLATES.get_template("docs.html").render(info=document["info"], operations=operations, types=types)


def _body(operation: dict[str, Any]) -> dict[str, str] | None:
    body = operation.get("requestBody")
    return body and {"description": body["description"], "type": _type(body["content"]["application/json"]["schema"])}


def _answer(answer: dict[str, Any]) -> dict[str, str]:
    content = next(iter(answer["content"].values()))
    return {"description": answer["description"], "type": _type(content["schema"])}


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = set(schema.get("required", []))
    return [
        {"name": name, "type": _type(kind), "required": name in required, "limits": _limits(kind)}
        for name, kind in schema.get("properties", {}).items()
    ]


def _type(schema: dict[str, Any]) -> str:
    """In a few words: a type's name, `array of Decision`, `integer or null`."""
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items') or schema.get('prefixItems', [{}])[0])}"
    return str(schema.get("format") or schema.get("type") or "anything")


def _limits(schema: dict[str, Any]) -> str:
    """What a value has to keep, of the schema and of its alternatives."""
    parts = [schema, *schema.get("anyOf", [])]
    found = [
        (name, part[name]) for part in parts for name in ("minimum", "maximum", "pattern", "default") if name in part
    ]
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in found)
