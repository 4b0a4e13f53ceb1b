"""openapi.yaml, and the check that answers conform to it."""

import re
from pathlib import Path

import jsonschema
import yaml

SPEC = yaml.safe_load((Path(__file__).parents[2] / "openapi.yaml").read_text("utf-8"))
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

# OpenAPI can't describe a method that a path does not have, nor a path that does not exist.
# openapi.yaml describes them in extensions of these names.
OTHER_METHODS = "x-other-methods"
OTHER_PATHS = "x-other-paths"
# Nor a path that answers every method alike: this names the described method.
ANY_METHOD = "x-any-method"

_resolver = jsonschema.RefResolver.from_schema(SPEC)
_validators = {}


def resolve(node):
    """The node itself, or what its $ref points to."""
    while isinstance(node, dict) and "$ref" in node:
        node = _resolver.resolve(node["$ref"])[1]
    return node


def operations():
    """Each operation as (path, method, operation)."""
    for path, item in SPEC["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def _type(validator, types, value, schema):
    """OpenAPI 3.0: null is a value of the type if that is nullable."""
    if value is not None or not schema.get("nullable"):
        yield from jsonschema.Draft4Validator.VALIDATORS["type"](validator, types, value, schema)


# The dialect of OpenAPI 3.0, in which 1.0 is no integer.
Validator = jsonschema.validators.extend(jsonschema.Draft4Validator, {"type": _type})


def validate(schema, value):
    """Raises jsonschema.ValidationError if value does not match schema."""
    validator = _validators.get(id(schema))
    if validator is None:
        validator = Validator(schema, resolver=_resolver)
        _validators[id(schema)] = validator
    validator.validate(value)


def path_item(target):
    """The path of openapi.yaml for a request's target, or None."""
    path = target.partition("?")[0]
    if path in ("/api/token", "/api/usage/token"):
        path += "/"
    if re.match(r"/api/token/(search|batch|[0-9])", path) and not path.endswith("//"):
        path = path.removesuffix("/")  # of a user's path
    if (re.match(r"/api/status|/api/usage/token/days|/v1/dashboard/billing/|/api/user/(self|models)|/api/log/self",
                 path) and not path.endswith("//")):
        path = path.removesuffix("/")
    path = re.sub(r"^/api/token/[0-9]+(/key|/rotate|/usage|)\Z", r"/api/token/{id}\1", path)
    path = re.sub(r"^/api/user/[0-9]+\Z", "/api/user/{id}", path)
    return SPEC["paths"].get(path)


def response(method, target, status):
    """The response object for an answer, or None if openapi.yaml has none."""
    item = path_item(target)
    if method == "HEAD" and "get" in (item or ()):
        method = "GET"  # RFC 9110: the same head
    if item is None and (method, status) == ("OPTIONS", 204):
        node = SPEC["components"]["responses"]["Options"]  # with TOKEN_CORS_ORIGIN
    elif item is None:
        node = SPEC["paths"][OTHER_PATHS] if status == 404 else None
    elif ANY_METHOD in item:
        node = item[item[ANY_METHOD]]["responses"].get(str(status))
    elif method.lower() not in item:
        node = item[OTHER_METHODS] if status == 405 else None
    else:
        node = item[method.lower()]["responses"].get(str(status))
    return resolve(node)


def check(method, target, reply):
    """Fails if openapi.yaml does not describe this reply to the request."""
    foreseen = response(method, target, reply.status)
    assert foreseen, f"{method} {target}: {reply.status} is not in openapi.yaml: {reply}"
    for name, node in foreseen.get("headers", {}).items():
        header = resolve(node)
        value = reply.headers.get(name.lower())
        assert value is not None or not header.get("required"), f"no {name}: {reply}"
        if value is not None:
            validate(header["schema"], int(value) if value.isdigit() else value)
    if method == "HEAD":
        assert reply.body == b""
    elif "content" in foreseen:
        (media_type, content), = foreseen["content"].items()
        assert int(reply.headers["content-length"]) == len(reply.body)
        if media_type == "application/json":
            assert reply.headers["content-type"] == "application/json; charset=utf-8"
            validate(content["schema"], reply.json)
        else:
            assert reply.headers["content-type"] == media_type
    else:
        assert reply.body == b""
