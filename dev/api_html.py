#!/usr/bin/env python3
"""Makes the API's reference, one HTML page without scripts, from openapi.yaml:

    dev/api_html.py openapi.yaml >api.html

Each route has one example for curl, Python and JavaScript. What differs from caller to caller is a
variable in them (VARIABLES); tests/console/test_api_html.py runs them all. Exit status 3: PyYAML is missing.
"""

import json
import re
import sys
from html import escape

try:
    import yaml
except ImportError:
    sys.exit(3)

METHODS = ("get", "post", "put", "delete")  # OPTIONS are browsers' preflights

# Members of bodies, and path parameters, that are variables in examples.
VARIABLES = {
    "id": "ID", "ids": "ID", "key": "KEY", "reservation": "RESERVATION", "username": "NAME", "transaction_id": "TRANSACTION",
}
TEXTS = ("KEY", "NAME", "TRANSACTION")  # the others are numbers

HEADERS = {  # by security scheme
    "accessToken": ("Authorization", "Bearer ", "ACCESS_TOKEN"),
    "tokenKey": ("Authorization", "Bearer ", "KEY"),
    "gatewaySecret": ("X-Gateway-Token", "", "GATEWAY_SECRET"),
}

INTRODUCTION = """
The examples use these values. For curl and Python they are environment variables:

    export URL=http://127.0.0.1:8080 ACCESS_TOKEN=… GATEWAY_SECRET=… KEY=sk-… ID=1 RESERVATION=1 NAME=alice TRANSACTION=t1

and for JavaScript constants:

    const url = "http://127.0.0.1:8080", accessToken = "…", gatewaySecret = "…", key = "sk-…", id = 1,
      reservation = 1, name = "alice", transaction = "t1";

`URL` is that of the public server. Routes of gateways and administrators, and /api/token/verify, are on the
internal one, by default http://127.0.0.1:8081.
"""


class Variable:
    """A value in an example's body that is the caller's."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):  # in a Python literal
        text = f'os.environ["{self.name}"]'
        return text if self.name in TEXTS else f"int({text})"


def camel(name):
    first, *others = name.lower().split("_")
    return first + "".join(other.title() for other in others)


# ---- the document ----


class Document:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.root = yaml.safe_load(file)

    def resolve(self, node):
        while "$ref" in node:
            target = self.root
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def operations(self, tag):
        for path, item in self.root["paths"].items():
            shared = item.get("parameters", [])
            for method in METHODS:
                operation = item.get(method)
                if operation and tag in operation["tags"]:
                    parameters = [self.resolve(one) for one in shared + operation.get("parameters", [])]
                    yield path, method, operation, parameters

    def schema_of_body(self, operation):
        body = operation.get("requestBody")
        if body is None:
            return None, None
        (media,) = self.resolve(body)["content"].values()
        examples = media.get("examples", {})
        values = [example["value"] for example in examples.values()]
        return self.resolve(media["schema"]), values[0] if values else {}

    def properties(self, schema):
        """(name, schema, required) of an object's members, in all its alternatives."""
        schema = self.resolve(schema)
        for part in schema.get("allOf", []) + schema.get("oneOf", []) + schema.get("anyOf", []):
            yield from self.properties(part)
        for name, one in schema.get("properties", {}).items():
            yield name, self.resolve(one), name in schema.get("required", [])


# ---- examples ----


def with_variables(value, name=None):
    """The body of an example, with variables for what is the caller's."""
    if isinstance(value, dict):
        return {member: with_variables(one, member) for member, one in value.items()}
    if isinstance(value, list):
        return [with_variables(one, name) for one in (value[:1] if name == "ids" else value)]
    return Variable(VARIABLES[name]) if name in VARIABLES else value


def to_json(body, replace, indent=None):
    """JSON with what replace(variable) says for variables."""
    marked = json.dumps(body, ensure_ascii=False, indent=indent, default=lambda one: f"\0{one.name}\0")
    return re.sub(r'"\\u0000(\w+)\\u0000"', lambda found: replace(Variable(found.group(1))), marked)


def credentials(document, operation):
    for alternative in operation.get("security", document.root["security"]):
        for scheme in alternative:
            return HEADERS[scheme]
    return None


class Example:
    """One request in three languages."""

    def __init__(self, document, path, method, operation, parameters):
        _, body = document.schema_of_body(operation)
        self.method = method.upper()
        self.path = path
        self.body = None if body is None else with_variables(body)
        self.credentials = credentials(document, operation)
        self.query = "&".join(
            f"{one['name']}={one['example']}" for one in parameters
            if one["in"] == "query" and one.get("required"))

    def target(self, variable):
        path = re.sub(r"\{(\w+)\}", lambda found: variable(VARIABLES[found.group(1)]), self.path)
        return path + (f"?{self.query}" if self.query else "")

    def curl(self):
        needs_method = self.method in ("PUT", "DELETE") or (self.method == "POST" and self.body is None)
        lines = ["curl " + (f"-X {self.method} " if needs_method else "") + f'"$URL{self.target(lambda name: f"${name}")}"']
        if self.credentials:
            header, prefix, name = self.credentials
            lines.append(f'-H "{header}: {prefix}${name}"')
        if self.body is not None:
            lines.append(f"-d '{to_json(self.body, self.in_shell_quotes)}'")
        return " \\\n    ".join(lines)

    @staticmethod
    def in_shell_quotes(variable):
        """A variable within a text in single quotes."""
        quote = '"' if variable.name in TEXTS else ""
        return f"""{quote}'"${variable.name}"'{quote}"""

    def python(self):
        lines = ["import os", "", "import requests", ""]
        prefix = "f" if "{" in self.path else ""
        target = self.target(lambda name: f"{{os.environ['{name}']}}")
        url = f'os.environ["URL"] + {prefix}"{target}"'
        arguments = [url]
        if self.credentials:
            header, prefix, name = self.credentials
            value = f'"{prefix}" + os.environ["{name}"]' if prefix else f'os.environ["{name}"]'
            arguments.append(f'headers={{"{header}": {value}}}')
        if self.body is not None:
            arguments.append(f"json={self.body!r}")
        arguments.append("timeout=30")
        lines.append(f"answer = requests.{self.method.lower()}(")
        lines += [f"    {argument}," for argument in arguments]
        return "\n".join([*lines, ")", "print(answer.status_code, answer.text)"])

    def javascript(self):
        target = self.target(lambda name: "${" + camel(name) + "}")
        options = [f'method: "{self.method}"'] if self.method != "GET" else []
        if self.credentials:
            header, prefix, name = self.credentials
            value = f"`{prefix}${{{camel(name)}}}`" if prefix else camel(name)
            options.append(f'headers: {{ "{header}": {value} }}')
        if self.body is not None:
            options.append(f"body: JSON.stringify({to_json(self.body, lambda one: camel(one.name))})")
        call = "".join(f"\n  {option}," for option in options)
        second = f", {{{call}\n}}" if options else ""
        return f"const answer = await fetch(`${{url}}{target}`{second});\nconsole.log(answer.status, await answer.text());"


# ---- HTML ----


def markdown(text):
    """Paragraphs, indented code, **bold** and `code`: what the descriptions use."""
    parts = []
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        if block.startswith("    "):
            lines = [line.removeprefix("    ") for line in block.splitlines()]
            parts.append(f"<pre>{escape(chr(10).join(lines))}</pre>")
        else:
            parts.append(f"<p>{inline(block)}</p>")
    return "\n".join(parts)


def inline(text):
    text = escape(text.strip(), quote=False)
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
    text = re.sub(r"\*\*([^*]+)\*\*", r"<b>\1</b>", text)
    return re.sub(r"(?<!\*)\*([^*\s][^*]*)\*(?!\*)", r"<i>\1</i>", text)


def type_of(document, schema):
    """An empty text, which means that a parameter is absent, is left out."""
    schema = document.resolve(schema)
    if "enum" in schema:
        return " | ".join(json.dumps(one, ensure_ascii=False) for one in schema["enum"] if one != "")
    for kind in ("oneOf", "anyOf"):
        if kind in schema:
            parts = [type_of(document, one) for one in schema[kind]]
            return " | ".join(dict.fromkeys(part for part in parts if part)) or "object"
    return schema.get("type", "")


def table(headings, rows):
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{one}</th>' for one in headings)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<div class="scroll"><table class="plain-table"><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n'


def operation_html(document, path, method, operation, parameters):
    name = operation["operationId"]
    schema, _ = document.schema_of_body(operation)
    inputs = [
        (f"<code>{one['name']}</code>", one["in"], escape(type_of(document, one["schema"])),
         inline(one.get("description", "")))
        for one in parameters
    ]
    if schema is not None:
        inputs += [
            (f"<code>{member}</code>", "body", escape(type_of(document, one)),
             inline(("Required. " if required else "") + one.get("description", "")))
            for member, one, required in document.properties(schema)
        ]
    answers = [(status, inline(document.resolve(one)["description"])) for status, one in operation["responses"].items()]
    example = Example(document, path, method, operation, parameters)
    languages = (("curl", "curl", example.curl()), ("python", "Python", example.python()),
                 ("javascript", "JavaScript", example.javascript()))
    examples = "".join(
        f'<details{" open" if language == "curl" else ""}><summary>{title}</summary>'
        f'<pre data-example="{name}" data-language="{language}">{escape(text, quote=False)}</pre></details>\n'
        for language, title, text in languages)
    return (
        f'<section class="card" id="{name}">\n<h3><code><b>{method.upper()}</b> {path}</code></h3>\n'
        f'<p>{inline(operation["summary"])}.</p>\n{markdown(operation.get("description", ""))}\n'
        f'{table(("Parameter", "In", "Type", "Meaning"), inputs)}{table(("Status", "Answer"), answers)}{examples}</section>\n')


def page(document):
    info = document.root["info"]
    contents, sections = [], []
    for tag in document.root["tags"]:
        operations = list(document.operations(tag["name"]))
        links = "".join(
            f'<li><a href="#{one["operationId"]}"><code>{method.upper()} {path}</code></a> {inline(one["summary"])}</li>\n'
            for path, method, one, _ in operations)
        title = tag["name"].capitalize()
        contents.append(f'<h2>{title}</h2><p>{inline(tag["description"])}.</p><ul>{links}</ul>\n')
        sections.append(f"<h2>{title}</h2>\n" + "".join(operation_html(document, *one) for one in operations))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{escape(info["title"])}: API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="style.css">
</head>
<body>
<header><a class="brand" href="./">{escape(info["title"])}</a> <span class="muted">API {escape(info["version"])}</span></header>
<main class="reference">
<h1>API reference</h1>
{markdown(info["description"])}
<h2>Examples</h2>
{markdown(INTRODUCTION)}
<nav aria-label="Routes">
{"".join(contents)}</nav>
{"".join(sections)}</main>
</body>
</html>
"""


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(page(Document(sys.argv[1])))
