"""openapi.yaml: it is well formed, and the service does what it describes.

Each example in it is exercised: a scenario of the same name makes the service give that
answer. If the operation has a request example of that name too, the scenario sends it.
"""

import contextlib
import json
import re
from dataclasses import replace
from urllib.parse import urlencode

import contract
import fastcgi
import jsonschema
import pytest
from client import key_checksum
from contract import ANY_METHOD, METHODS, OTHER_METHODS, OTHER_PATHS, SPEC, resolve
from service import Site

# Each kind of request once, over all threads of a worker.
pytestmark = pytest.mark.threads

# ---- the document ----

# The fields of the objects of OpenAPI 3.0 that are used here; * is required.
OBJECTS = {
    "root": "openapi* info* servers paths* components security tags",
    "info": "title* version* description",
    "server": "url* description",
    "tag": "name* description",
    "path": "summary description parameters " + " ".join(METHODS),
    "operation": "tags operationId* summary* description parameters requestBody responses* "
    "security",
    "parameter": "name* in* description required schema* example*",
    "body": "description content* required",
    "response": "description* headers content",
    "header": "description required schema* example",
    "media": "schema* examples*",
    "example": "summary description value*",
    "components": "schemas responses headers parameters securitySchemes",
    "http": "type* scheme* description",
    "apiKey": "type* in* name* description",
}


NO_BODY = "x-no-content"  # marks an answer without a body, although its status allows one


def check_object(kind, node):
    assert isinstance(node, dict), f"{kind}: {node!r}"
    if "$ref" in node:
        assert list(node) == ["$ref"]
        node = resolve(node)
    fields = OBJECTS[kind].split()
    required = {field[:-1] for field in fields if field.endswith("*")}
    known = {field.rstrip("*") for field in fields}
    present = {name for name in node if not name.startswith("x-")}
    assert required <= present <= known, f"{kind}: {present ^ known}"
    return node


def check_schema(schema):
    contract.Validator.check_schema(schema)
    for node in walk(schema):
        if "$ref" in node:
            assert resolve(node)


def walk(node):
    """Every mapping in a node, itself included."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from walk(child)


def check_parameter(node):
    parameter = check_object("parameter", node)
    assert parameter["in"] in ("query", "path", "header")
    assert parameter.get("required", False) is (parameter["in"] == "path")
    check_schema(parameter["schema"])
    contract.validate(parameter["schema"], parameter["example"])
    return parameter


def check_content(content):
    assert list(content) == ["application/json"]
    media = check_object("media", content["application/json"])
    check_schema(media["schema"])
    assert media["examples"]
    for name, example in media["examples"].items():
        check_object("example", example)
        contract.validate(media["schema"], example["value"])
        for key in re.findall(r'"(sk-[^"]*)"', json.dumps(example["value"])):
            assert key[45:] == key_checksum(key), f"{name}: {key}"


def check_response(status, node):
    response = check_object("response", node)
    assert re.fullmatch("[1-5][0-9][0-9]", status)
    for name, header in response.get("headers", {}).items():
        header = check_object("header", header)
        check_schema(header["schema"])
        if "example" in header:
            contract.validate(header["schema"], header["example"])
        assert name.lower() not in ("content-type", "authorization")  # OpenAPI ignores these
    has_content = status != "204" and not response.get(NO_BODY)
    assert ("content" in response) is has_content
    if "content" in response:
        check_content(response["content"])


def test_root():
    check_object("root", SPEC)
    assert re.fullmatch(r"3\.0\.\d+", SPEC["openapi"])
    check_object("info", SPEC["info"])
    for server in SPEC["servers"]:
        check_object("server", server)
    for tag in SPEC["tags"]:
        check_object("tag", tag)


def test_components():
    components = check_object("components", SPEC["components"])
    for scheme in components["securitySchemes"].values():
        check_object(scheme["type"], scheme)
    for schema in components["schemas"].values():
        check_schema(schema)
    used = {node["$ref"] for node in walk(SPEC) if "$ref" in node}
    for section in ("schemas", "responses", "headers", "parameters"):
        for name in components[section]:
            assert f"#/components/{section}/{name}" in used, f"{name} is not used"


def test_paths():
    for path, item in SPEC["paths"].items():
        if path.startswith("x-"):
            continue
        assert path.startswith(("/api/token/", "/api/usage/token/", "/api/status", "/v1/dashboard/billing/", "/api/user/",
                                "/api/log/", "/healthz", "/metrics"))
        check_object("path", item)
        parameters = [check_parameter(node) for node in item.get("parameters", [])]
        in_path = [node["name"] for node in parameters if node["in"] == "path"]
        assert in_path == re.findall(r"\{(.*?)\}", path)
        if ANY_METHOD in item:
            assert item[ANY_METHOD] in item and OTHER_METHODS not in item
        else:
            check_response("405", item[OTHER_METHODS])
    check_response("404", SPEC["paths"][OTHER_PATHS])


@pytest.mark.parametrize(
    "operation",
    [operation for _, _, operation in contract.operations()],
    ids=lambda operation: operation["operationId"],
)
def test_operation(operation):
    check_object("operation", operation)
    for node in operation.get("parameters", []):
        check_parameter(node)
    if "requestBody" in operation:
        check_content(check_object("body", operation["requestBody"])["content"])
    for status, response in operation["responses"].items():
        check_response(status, response)
    for requirement in operation.get("security", SPEC["security"]):
        assert requirement and set(requirement) <= set(SPEC["components"]["securitySchemes"])
    assert set(operation["tags"]) <= {tag["name"] for tag in SPEC["tags"]}


def test_operation_ids_are_unique():
    ids = [operation["operationId"] for _, _, operation in contract.operations()]
    assert len(ids) == len(set(ids))


# ---- the service ----

SUBSCRIPTION, BILLING_USAGE = "/v1/dashboard/billing/subscription", "/v1/dashboard/billing/usage"

# A successful request of each operation. An operation without a name in OpenAPI is named after
# its path.
PLAIN = {
    "listTokens": ("GET", "/api/token/", None),
    "createTokens": ("POST", "/api/token/", {}),
    "updateToken": ("PUT", "/api/token/", {"id": 1}),
    "getToken": ("GET", "/api/token/1", None),
    "deleteToken": ("DELETE", "/api/token/1", None),
    "deleteTokens": ("POST", "/api/token/batch", {"ids": [1]}),
    "optionsTokens": ("OPTIONS", "/api/token/", None),
    "optionsToken": ("OPTIONS", "/api/token/1", None),
    "optionsBatch": ("OPTIONS", "/api/token/batch", None),
    "searchTokens": ("GET", "/api/token/search", None),
    "searchTokensByBody": ("POST", "/api/token/search", {}),
    "setStatuses": ("POST", "/api/token/batch/status", {"ids": [1], "status": 2}),
    "showKey": ("POST", "/api/token/1/key", None),
    "showKeys": ("POST", "/api/token/batch/keys", {"ids": [1]}),
    "rotateKey": ("POST", "/api/token/1/rotate", {}),
    "verifyKey": ("GET", "/api/token/verify", None),
    "consume": ("POST", "/api/token/consume", {"amount": 0}),
    "reserve": ("POST", "/api/token/reserve", {"amount": 0}),
    "settle": ("POST", "/api/token/settle", {"reservation": -1, "amount": 0}),
    "cancel": ("POST", "/api/token/cancel", {"reservation": -1}),
    "keyUsage": ("GET", "/api/usage/token/", None),
    "keyDays": ("GET", "/api/usage/token/days?days=2", None),
    "selfUsage": ("GET", "/api/user/self/usage?days=2", None),
    "tokenUsage": ("GET", "/api/token/1/usage?days=2", None),
    "keySubscription": ("GET", SUBSCRIPTION, None),
    "keyBillingUsage": ("GET", BILLING_USAGE, None),
    "siteStatus": ("GET", "/api/status", None),
    "getHealth": ("GET", "/healthz", None),
    "optionsHealth": ("OPTIONS", "/healthz", None),
    "/healthz": ("POST", "/healthz", {}),
    "getSelf": ("GET", "/api/user/self", None),
    "rotateSelf": ("POST", "/api/user/self/rotate", None),
    "getSelfGroups": ("GET", "/api/user/self/groups", None),
    "listModels": ("GET", "/api/user/models", None),
    "listOwnLog": ("GET", "/api/log/self", None),
    "listUsers": ("GET", "/api/user/", None),
    "createUser": ("POST", "/api/user/", {"username": ""}),
    "updateUser": ("PUT", "/api/user/", {"id": 1}),
    "searchUsers": ("GET", "/api/user/search", None),
    "getUser": ("GET", "/api/user/1", None),
    "deleteUser": ("DELETE", "/api/user/1", None),
    "manageUser": ("POST", "/api/user/manage", {"id": 1, "action": "rotate"}),
    "findToken": ("POST", "/api/token/find", {"key": ""}),
    "listLog": ("GET", "/api/log/", None),
    "optionsSelf": ("OPTIONS", "/api/user/self", None),
    "optionsSelfRotate": ("OPTIONS", "/api/user/self/rotate", None),
    "optionsSelfGroups": ("OPTIONS", "/api/user/self/groups", None),
    "optionsModels": ("OPTIONS", "/api/user/models", None),
    "optionsOwnLog": ("OPTIONS", "/api/log/self", None),
    "optionsUsers": ("OPTIONS", "/api/user/", None),
    "optionsUserSearch": ("OPTIONS", "/api/user/search", None),
    "optionsUser": ("OPTIONS", "/api/user/1", None),
    "optionsManage": ("OPTIONS", "/api/user/manage", None),
    "optionsFind": ("OPTIONS", "/api/token/find", None),
    "optionsLog": ("OPTIONS", "/api/log/", None),
    "/api/user/self": ("POST", "/api/user/self", {}),
    "/api/user/self/rotate": ("GET", "/api/user/self/rotate", None),
    "/api/user/self/groups": ("POST", "/api/user/self/groups", {}),
    "/api/user/models": ("DELETE", "/api/user/models", None),
    "/api/log/self": ("POST", "/api/log/self", {}),
    "/api/user/": ("DELETE", "/api/user/", None),
    "/api/user/search": ("POST", "/api/user/search", {}),
    "/api/user/{id}": ("POST", "/api/user/1", {}),
    "/api/user/manage": ("GET", "/api/user/manage", None),
    "/api/token/find": ("GET", "/api/token/find", None),
    "/api/log/": ("POST", "/api/log/", {}),
    "optionsStatuses": ("OPTIONS", "/api/token/batch/status", None),
    "optionsSearch": ("OPTIONS", "/api/token/search", None),
    "optionsKey": ("OPTIONS", "/api/token/1/key", None),
    "optionsKeys": ("OPTIONS", "/api/token/batch/keys", None),
    "optionsRotate": ("OPTIONS", "/api/token/1/rotate", None),
    "optionsConsume": ("OPTIONS", "/api/token/consume", None),
    "optionsReserve": ("OPTIONS", "/api/token/reserve", None),
    "optionsSettle": ("OPTIONS", "/api/token/settle", None),
    "optionsCancel": ("OPTIONS", "/api/token/cancel", None),
    "optionsUsage": ("OPTIONS", "/api/usage/token/", None),
    "optionsSelfUsage": ("OPTIONS", "/api/user/self/usage", None),
    "/api/user/self/usage": ("POST", "/api/user/self/usage", {}),
    "optionsKeyDays": ("OPTIONS", "/api/usage/token/days", None),
    "optionsTokenUsage": ("OPTIONS", "/api/token/1/usage", None),
    "optionsSubscription": ("OPTIONS", SUBSCRIPTION, None),
    "optionsBillingUsage": ("OPTIONS", BILLING_USAGE, None),
    "optionsStatus": ("OPTIONS", "/api/status", None),
    "/api/token/": ("DELETE", "/api/token/", None),
    "/api/token/{id}": ("PATCH", "/api/token/1", None),
    "/api/token/batch": ("GET", "/api/token/batch", None),
    "/api/token/batch/status": ("GET", "/api/token/batch/status", None),
    "/api/token/search": ("PUT", "/api/token/search", {}),
    "/api/token/{id}/key": ("GET", "/api/token/1/key", None),
    "/api/token/batch/keys": ("GET", "/api/token/batch/keys", None),
    "/api/token/{id}/rotate": ("PUT", "/api/token/1/rotate", {}),
    "/api/token/consume": ("GET", "/api/token/consume", None),
    "/api/token/reserve": ("PUT", "/api/token/reserve", {}),
    "/api/token/settle": ("GET", "/api/token/settle", None),
    "/api/token/cancel": ("DELETE", "/api/token/cancel", None),
    "/api/usage/token/": ("POST", "/api/usage/token/", {}),
    "/api/usage/token/days": ("POST", "/api/usage/token/days", {}),
    "/api/token/{id}/usage": ("POST", "/api/token/1/usage", {}),
    SUBSCRIPTION: ("POST", SUBSCRIPTION, {}),
    BILLING_USAGE: ("POST", BILLING_USAGE, {}),
    "/api/status": ("POST", "/api/status", {}),
    OTHER_PATHS: ("GET", "/api/token/nothing", None),
}

NO_CONTENT = "no-content"  # stands for the example of an answer without a body


GATEWAYS = ("consume", "reserve", "settle", "cancel")
ADMINISTRATORS = ("createUser", "updateUser", "manageUser", "findToken")


class Scene:
    """The subject of a scenario: a fresh user and an operation."""

    def __init__(self, request, operation, body):
        self.fixture = request.getfixturevalue
        self.site = self.fixture("site")
        self.user = self.fixture("user")
        self.gateway = self.fixture("gateway")
        self.operation = operation
        self.body = body  # the request's example of the same name

    def plain(self, client=None, headers=None, body=None, token_id=None, query=""):
        method, target, usual = PLAIN[self.operation]
        if token_id is not None:
            target = target.replace("/1", f"/{token_id}")
            usual = {
                "updateToken": {"id": token_id},
                "deleteTokens": {"ids": [token_id]},
                "showKeys": {"ids": [token_id]},
                "setStatuses": {"ids": [token_id], "status": 2},
            }.get(self.operation, usual)
        usually = self.gateway if self.operation in GATEWAYS else self.user
        if "?" in target:
            query = query.replace("?", "&")
        return (client or usually).request(method, target + query, body or usual, headers)

    def administrator(self, role="admin"):
        return self.site.http(self.site.add_user(role=role))

    def caller(self):
        """A client with the right to the operation; None for the usual one."""
        return self.administrator() if self.operation in ADMINISTRATORS else None

    def administer(self, role="admin", **body):
        """Sends the request's example, with the fresh user's id."""
        return self.plain(self.administrator(role), body={**(self.body or {}), "id": self.user.user.id, **body})

    def use(self, made=None, key=None, **body):
        """Sends the request's example, or just an amount, with the key of a fresh token."""
        if key is None:
            key = self.user.make(**(made or {}))["key"]
        sent = {**(self.body or {"amount": 1}), "key": key, **body}
        return self.plain(body={name: value for name, value in sent.items() if value is not None})

    def end(self, remain=1000, amount=1000):
        """Sends the request's example, with a fresh reservation."""
        key = self.user.make(unlimited_quota=False, remain_quota=remain)["key"]
        reserved = self.gateway.reserve(key=key, amount=amount).data
        return self.plain(body={**self.body, "reservation": reserved["reservation"]})

    def search(self, **parameters):
        if self.operation == "searchTokensByBody":
            return self.user.search_by_body(parameters)
        return self.user.search("?" + urlencode(parameters))

    def update(self, query="", made=None):
        """Sends the request's example, with the id of a fresh token."""
        made = {"name": "API Token", "remain_quota": 1000000, **(made or {})}
        token = self.user.create(made).data
        return self.user.update({**self.body, "id": token["id"]}, query)


def no_user(scene):
    administrator = scene.administrator()
    if scene.operation in ("updateUser", "manageUser"):
        return scene.plain(administrator, body={"id": 2**40, "action": "enable"})
    if scene.operation in ("getUser", "deleteUser"):
        return scene.plain(administrator, token_id=2**40)
    return scene.plain(administrator, query=f"?user_id={2**40}")


def past_all_users(scene):
    reply = scene.administrator().request("GET", "/api/user/?p=1000000")
    assert reply.data["total"] >= 2
    return replace(reply, body=json.dumps({**reply.json, "data": {**reply.data, "total": 2}}).encode())


def add_user(scene):
    reply = scene.plain(scene.administrator(), body={**scene.body, "username": f"added {scene.user.user.name}"})
    assert reply.data["id"] > scene.user.user.id
    return reply


def add_to_quota(scene):
    assert scene.administer(quota=1000, add_quota=None).status == 200
    return scene.administer()


def of_fresh_user(scene):
    return scene.plain(scene.administrator(), token_id=scene.user.user.id)


def own_log(scene):
    """Of a fresh user who has rotated the access token."""
    access_token = scene.user.request("POST", "/api/user/self/rotate").data["access_token"]
    user = replace(scene.user.user, access_token=access_token)
    if scene.operation == "listOwnLog":
        return scene.site.http(user).request("GET", "/api/log/self?action=user.rotate")
    return scene.administrator().request("GET", f"/api/log/?action=user.rotate&user_id={user.id}&actor=user")


def found_key(scene):
    token = scene.user.make(name="API Token")
    return scene.plain(scene.administrator(), body={"key": token["key"]})


def as_administrator(**body):
    return lambda scene: scene.plain(scene.administrator(), body=body or None)


def page(scene):
    scene.user.create(
        {
            "name": "API Token",
            "remain_quota": 1000000,
            "model_limits_enabled": True,
            "model_limits": ["gpt-3.5-turbo", "gpt-4"],
            "allow_ips": "192.168.1.1,10.0.0.1",
        }
    )
    backup = scene.user.make(name="Backup")
    scene.user.update({"id": backup["id"], "status": 2})
    return scene.user.list()


def found(scene):
    scene.user.make(name="Test")
    scene.user.make(name="Production", unlimited_quota=False, remain_quota=1000000)
    return scene.search(keyword="prod%", sort="name")


def rotated(scene):
    token = scene.user.make(name="API Token", unlimited_quota=False, remain_quota=1000000)
    reply = scene.user.rotate(token["id"], scene.body)
    assert reply.data["key"] != token["key"]
    return reply


def past_the_end(scene):
    scene.user.make_many(2)
    return scene.user.list("?p=7")


def one_token(scene):
    token = scene.user.make(
        name="API Token",
        remain_quota=1000000,
        unlimited_quota=False,
        model_limits_enabled=True,
        model_limits=["gpt-3.5-turbo", "gpt-4"],
        allow_ips="192.168.1.1,10.0.0.1",
        expired_time=4102444800,
    )
    return scene.user.get(token["id"])


def batch(scene):
    tokens = scene.user.make_many(len(scene.body["ids"]))
    return scene.user.batch({**scene.body, "ids": [token["id"] for token in tokens]})


def statuses(scene):
    """Two tokens can't be enabled. Ids differ from run to run, the example's are 1 to 3."""
    tokens = scene.user.create([{"unlimited_quota": True}, {}, {"expired_time": 1}]).data
    ids = [token["id"] for token in tokens]
    reply = scene.user.set_status({**scene.body, "ids": ids})
    refused = [ids.index(token_id) + 1 for token_id in reply.json["refused"]]
    return replace(reply, body=json.dumps({**reply.json, "refused": refused}).encode())


def limit_reached(scene):
    scene.user.make_many(1000)
    return scene.user.create({})


def disabled(scene):
    scene.site.ctl("user", "disable", scene.user.user.id)
    return scene.plain()


def unreadable(scene):
    user, token_id = scene.fixture("damaged")
    return scene.plain(user, token_id=token_id)


def unreadable_token(scene):
    """By the route's identifier of a token: its id, its key, or a reservation."""
    user, token = scene.fixture("damaged_record")
    if scene.operation in ("verifyKey", "keyUsage", "keyDays", "keySubscription", "keyBillingUsage"):
        return scene.plain(user, {"Authorization": f"Bearer {token['key']}"})
    if scene.operation in ("consume", "reserve"):
        return scene.plain(token["gateway"], body={"key": token["key"], "amount": 1})
    if scene.operation == "findToken":
        return scene.plain(token["administrator"], body={"key": token["key"]})
    if scene.operation in ("settle", "cancel"):
        body = {"reservation": token["reservation"], "amount": 0}
        return scene.plain(token["gateway"], body=body)
    return unreadable(scene)


def too_many(scene):
    client = scene.fixture("limited").http()
    for _ in range(1000):
        reply = scene.plain(client)
        if reply.status == 429:
            return reply
    raise AssertionError("1000 requests were not too many")


def keys(scene):
    one, other = scene.user.make_many(2)
    reply = scene.user.show_keys({"ids": [one["id"], other["id"], *scene.body["ids"][2:]]})
    assert reply.data["keys"] == {str(one["id"]): one["key"], str(other["id"]): other["key"]}
    # Ids differ from run to run, the example's are 1 and 2.
    text = reply.body.replace(f'"{one["id"]}":'.encode(), b'"1":')
    return replace(reply, body=text.replace(f'"{other["id"]}":'.encode(), b'"2":'))


def body_cut_off(scene):
    """nginx would refuse it."""
    with fastcgi.Connection(scene.site.socket) as connection:
        variables = fastcgi.environment("POST", "/api/token/1/key", scene.user.credentials)
        connection.send(fastcgi.request({**variables, "CONTENT_LENGTH": "5"}, b"{}"))
        return connection.read_reply()


def repeat(method, target):
    """The same Idempotency-Key with another body."""

    def scenario(scene):
        path = target.replace("/1/", f"/{scene.user.make()['id']}/")
        headers = {"Idempotency-Key": "once"}
        assert scene.user.request(method, path, {"name": "one"}, headers).status == 200
        return scene.user.request(method, path, {"name": "other"}, headers)

    return scenario


LARGE = [{"model_limits": "m" * 8000}] * 100
LARGEST = [{"model_limits": "m" * 8150, "allow_ips": "1::8,2::9," * 208}] * 100


def remembered(scene):
    for key in "ab":
        reply = scene.user.request("POST", "/api/token/", LARGE, {"Idempotency-Key": key})
    if scene.operation != "rotateKey":
        return reply
    scene.user.request("POST", "/api/token/", LARGE[:22], {"Idempotency-Key": "c"})
    token = scene.user.make(model_limits="m" * 8000)
    for key in range(9):
        reply = scene.user.request(
            "POST", f"/api/token/{token['id']}/rotate", {}, {"Idempotency-Key": f"d{key}"}
        )
    return reply


def remembered_reservations(scene):
    """Straight to a worker, as there are many."""
    body = json.dumps({"key": scene.user.make()["key"], "amount": 0}).encode()
    variables = fastcgi.environment(
        "POST", "/api/token/reserve", scene.gateway.credentials, body
    )
    sent = fastcgi.request(variables, body, keep=True)
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(fastcgi.Connection(scene.site.socket)) for _ in range(100)
        ]
        for _ in range(100):
            for connection in connections:
                connection.send(sent)
            for connection in connections:  # which shared a commit
                connection.read_reply()
    return scene.plain(body=json.loads(body))


def other_transaction(scene):
    key = scene.user.make()["key"]
    assert scene.use(key=key, transaction_id=key).status == 200
    return scene.use(key=key, transaction_id=key, amount=2)


def token_deleted(scene):
    token = scene.user.make()
    reserved = scene.gateway.reserve(key=token["key"], amount=400).data
    scene.user.delete(token["id"])
    return scene.plain(body={"reservation": reserved["reservation"], "amount": 0})


def key_disabled(scene):
    token = scene.user.make()
    scene.user.update({"id": token["id"], "status": 2})
    return token["key"]


def of_disabled_owner(scene):
    key = scene.user.make()["key"]
    scene.site.ctl("user", "disable", scene.user.user.id)
    return key


def usage(scene):
    token = scene.user.make(
        name="API Token",
        unlimited_quota=False,
        remain_quota=1000000,
        model_limits_enabled=True,
        model_limits=["gpt-3.5-turbo", "gpt-4"],
    )
    assert scene.gateway.consume(key=token["key"], amount=250, model="gpt-4").status == 200
    return scene.user.usage(token["key"])


def of_poor_owner(scene):
    key = scene.user.make()["key"]
    scene.site.ctl("user", "set", scene.user.user.id, "--quota", 0)
    return key


def twice(**made):
    """One use is allowed."""

    def scenario(scene):
        key = scene.user.make(**made)["key"]
        assert scene.use(key=key).status == 200
        return scene.use(key=key)

    return scenario


def verified_twice(scene):
    key = scene.user.make(rpm_limit=1)["key"]
    again = verify(key=lambda scene: key)
    assert again(scene).status == 204
    return again(scene)


def group_lost(scene):
    site, key = scene.fixture("with_groups")
    scene.site = site
    return verify(key=lambda scene: key)(scene)


def usage_by_day(scene):
    token = scene.user.make()
    assert scene.gateway.consume(key=token["key"], amount=250).status == 200
    if scene.operation == "keyDays":
        return ask_with_key(scene, token["key"])
    return scene.plain(token_id=token["id"])


def ask_with_key(scene, key):
    return scene.plain(headers={"Authorization": f"Bearer {key}", "New-Api-User": None})


def billing(scene):
    token = scene.user.make(unlimited_quota=False, remain_quota=1000000)
    assert scene.gateway.consume(key=token["key"], amount=250).status == 200
    return ask_with_key(scene, token["key"])


def verify(**variables):
    """Over the pool's socket, to set variables that nginx does not."""

    def scenario(scene):
        made = dict(variables)
        key = made.pop("key", None)
        fields = made.pop("made", {})
        key = key(scene) if key else scene.user.make(**fields)["key"]
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with fastcgi.Connection(scene.site.socket) as connection:
            asked = fastcgi.environment("GET", "/api/token/verify", headers)
            connection.send(fastcgi.request({**asked, **made}))
            reply = connection.read_reply()
        contract.check("GET", "/api/token/verify", reply)
        return reply

    return scenario


UNKNOWN_KEY = "sk-" + "0" * 42 + key_checksum("sk-" + "0" * 48)


def enable(**made):
    def scenario(scene):
        token = scene.user.make(**made)
        return scene.user.update({"id": token["id"], "status": 1})

    return scenario


def change(**fields):
    def scenario(scene):
        token = scene.user.make(unlimited_quota=False, remain_quota=7)
        return scene.user.update({"id": token["id"], **fields})

    return scenario


def authorization(**headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda scene: scene.plain(headers=headers)


SCENARIOS = {
    # listTokens
    "page": page,
    "past-the-end": past_the_end,
    "list-order-unknown": lambda scene: scene.user.list("?order=up"),
    "list-unreadable": unreadable,
    # createTokens
    "one": lambda scene: scene.user.create(scene.body),
    "defaults": lambda scene: scene.user.create(scene.body),
    "several": lambda scene: scene.user.create(scene.body),
    "name-too-long": lambda scene: scene.user.create({"name": "字" * 31}),
    "name-too-long-in-array": lambda scene: scene.user.create([{}, {"name": "x" * 31}]),
    "quota-negative": lambda scene: scene.user.create({"remain_quota": -1}),
    "quota-negative-in-array": lambda scene: scene.user.create([{}, {"remain_quota": -1}]),
    "expiry-negative": lambda scene: scene.user.create({"expired_time": -2}),
    "wrong-type": lambda scene: scene.user.create({"unlimited_quota": "yes"}),
    "not-json": lambda scene: scene.user.create(b"{name: 1}"),
    "limit-reached": limit_reached,
    "remembered": remembered,
    "remembered-reservations": remembered_reservations,
    "idempotency-key-of-a-large-answer": lambda scene: scene.user.request(
        "POST", "/api/token/", LARGEST, {"Idempotency-Key": "k"}
    ),
    "idempotency-key-malformed": authorization(Idempotency_Key="not visible"),
    "other-request": repeat("POST", "/api/token/"),
    # updateToken
    "full": lambda scene: scene.update(),
    "partial": lambda scene: scene.update(),
    "more-quota": lambda scene: scene.update(),
    "add-and-set-quota": lambda scene: scene.user.update(
        {"id": 1, "add_quota": 1, "remain_quota": 1}
    ),
    "quota-out-of-range": change(add_quota=2**63 - 1),
    "quota-too-low": change(add_quota=-8),
    "extend-and-enable": lambda scene: scene.update(made={"expired_time": 1640995200}),
    "disable": lambda scene: scene.update("?status_only=true"),
    "id-missing": lambda scene: scene.user.update({"name": "x"}),
    "status-only-missing": lambda scene: scene.user.update({"id": 1}, "?status_only=true"),
    "update-name-too-long": change(name="x" * 31),
    "expired": enable(expired_time=1640995200),
    "exhausted": enable(unlimited_quota=False, remain_quota=0),
    # getToken, deleteToken, deleteTokens
    "token": one_token,
    "deleted": lambda scene: scene.user.delete(scene.user.make()["id"]),
    "batch": batch,
    "none-of-them": lambda scene: scene.user.batch({"ids": [2**40]}),
    "ids-empty": lambda scene: scene.user.batch({"ids": []}),
    "batch-not-json": lambda scene: scene.user.batch(b'{"ids":[1,]}'),
    # setStatuses
    "disabled-all": statuses,
    "enabled-some": statuses,
    "statuses-ids-empty": lambda scene: scene.user.set_status({"ids": [], "status": 1}),
    "statuses-status-missing": lambda scene: scene.user.set_status({"ids": [1]}),
    # searchTokens, searchTokensByBody
    "found": found,
    "nothing-found": lambda scene: scene.search(keyword="x"),
    "status-not-one": lambda scene: scene.search(status=5),
    "sort-unknown": lambda scene: scene.search(sort="key"),
    "order-unknown": lambda scene: scene.search(order="up"),
    "search-unreadable": unreadable,
    # showKey, showKeys, rotateKey
    "key": lambda scene: scene.user.show_key(scene.user.make()["id"]),
    "body-cut-off": body_cut_off,
    "keys": keys,
    "no-keys": lambda scene: scene.user.show_keys({"ids": [2**40]}),
    "keys-ids-empty": lambda scene: scene.user.show_keys({"ids": []}),
    "keys-not-json": lambda scene: scene.user.show_keys(b'{"ids":[1,]}'),
    "rotated": rotated,
    "grace-negative": lambda scene: scene.user.rotate(1, {"grace_seconds": -1}),
    "rotate-idempotency-key-malformed": authorization(Idempotency_Key="x" * 256),
    "rotate-other-request": repeat("POST", "/api/token/1/rotate"),
    # verifyKey
    "reason-missing": verify(key=lambda scene: None),
    "reason-malformed": verify(key=lambda scene: "sk-x"),
    "reason-unknown": verify(key=lambda scene: UNKNOWN_KEY),
    "reason-disabled": verify(key=key_disabled),
    "reason-expired": verify(made={"expired_time": 1}),
    "reason-exhausted": verify(made={"unlimited_quota": False}),
    "reason-user": verify(key=of_disabled_owner),
    "reason-address": verify(made={"allow_ips": "192.168.1.1"}, REMOTE_ADDR="192.168.1.2"),
    "reason-model": verify(
        made={"model_limits_enabled": True, "model_limits": "gpt-4"}, TOKEN_MODEL="gpt-5"
    ),
    "reason-cost": verify(TOKEN_COST="much"),
    "reason-rate": verified_twice,
    "reason-balance": verify(key=of_poor_owner),
    "reason-group": group_lost,
    "verified": verify(made={"unlimited_quota": False, "remain_quota": 1000000}, TOKEN_COST="5"),
    # consume, reserve
    "consumed": lambda scene: scene.use({"unlimited_quota": False, "remain_quota": 1000000}),
    "reserved": lambda scene: scene.use({"unlimited_quota": False, "remain_quota": 1000000}),
    "amount-missing": lambda scene: scene.use(amount=None),
    "transaction-id-empty": lambda scene: scene.use(transaction_id=""),
    "ttl-too-long": lambda scene: scene.use(ttl_seconds=3601),
    "use-gateway-unknown": authorization(X_Gateway_Token="wrong"),
    "key-missing": lambda scene: scene.plain(body={"amount": 1}),
    "key-malformed": lambda scene: scene.use(key="sk-x"),
    "key-unknown": lambda scene: scene.use(key=UNKNOWN_KEY),
    "key-disabled": lambda scene: scene.use(key=key_disabled(scene)),
    "key-expired": lambda scene: scene.use({"expired_time": 1}),
    "key-exhausted": lambda scene: scene.use({"unlimited_quota": False, "remain_quota": 0}),
    "owner-disabled": lambda scene: scene.use(key=of_disabled_owner(scene)),
    "address-not-allowed": lambda scene: scene.use({"allow_ips": "::1"}, ip="::2"),
    "model-not-allowed": lambda scene: scene.use(
        {"model_limits_enabled": True, "model_limits": "gpt-4"}, model="gpt-5"
    ),
    "owner-exhausted": lambda scene: scene.use(key=of_poor_owner(scene)),
    "rate": twice(rpm_limit=1),
    "parallel": twice(max_parallel_requests=1),
    "other-transaction": other_transaction,
    # settle, cancel
    "settled": lambda scene: scene.end(amount=400),
    "settled-short": lambda scene: scene.end(amount=400),
    "cancelled": lambda scene: scene.end(),
    "settle-amount-missing": lambda scene: scene.plain(body={"reservation": 1}),
    "cancel-reservation-missing": lambda scene: scene.plain(body={"amount": 1}),
    "gateway-unknown": authorization(X_Gateway_Token=None),
    "reservation-not-found": lambda scene: scene.plain(),
    "reserved-token-deleted": token_deleted,
    # keyUsage
    "usage": usage,
    "usage-key-missing": lambda scene: scene.plain(headers={"Authorization": None}),
    "usage-key-unknown": lambda scene: ask_with_key(scene, UNKNOWN_KEY),
    "usage-key-disabled": lambda scene: ask_with_key(scene, key_disabled(scene)),
    "usage-address": lambda scene: ask_with_key(scene, scene.user.make(allow_ips="10.0.0.1")["key"]),
    # keyDays, tokenUsage
    "usage-by-day": usage_by_day,
    "keyDays-days": lambda scene: scene.user.request(
        "GET", "/api/usage/token/days?days=401", None,
        {"Authorization": f"Bearer {scene.user.make()['key']}", "New-Api-User": None}
    ),
    "selfUsage-days": lambda scene: scene.user.request("GET", "/api/user/self/usage?days=401"),
    "tokenUsage-days": lambda scene: scene.user.request("GET", "/api/token/1/usage?days=x"),
    # keySubscription, keyBillingUsage, siteStatus
    "subscription": billing,
    "billing-usage": billing,
    "site": lambda scene: scene.plain(headers={"Authorization": None, "New-Api-User": None}),
    # getHealth
    "healthy": lambda scene: scene.plain(),
    "unhealthy": lambda scene: scene.plain(scene.fixture("full").http()),
    # users
    "self": lambda scene: scene.plain(),
    "self-rotated": lambda scene: scene.plain(),
    "groups": lambda scene: scene.plain(),
    "models": lambda scene: scene.plain(),
    "own-log": own_log,
    "log-empty": lambda scene: scene.plain(query="?action=none"),
    "before-malformed": lambda scene: scene.plain(query="?before=a-b"),
    # administrators
    "users-past-the-end": past_all_users,
    "users-found": lambda scene: scene.plain(scene.administrator(), query=f"?keyword={scene.user.user.name}%25&group=default"),
    "user-added": add_user,
    "username-missing": as_administrator(group="default"),
    "username-number": as_administrator(username="12"),
    "username-taken": lambda scene: scene.plain(
        scene.administrator(), body={"username": scene.user.user.name.upper()}
    ),
    "user-updated": lambda scene: scene.administer(),
    "user-more-quota": add_to_quota,
    "user-quota-twice": lambda scene: scene.administer(quota=1, add_quota=1),
    "user-quota-out-of-range": lambda scene: [
        scene.administer(add_quota=2**63 - 1), scene.administer(add_quota=1)][1],
    "user-quota-too-low": lambda scene: scene.administer(add_quota=-1),
    "username-taken-by-other": lambda scene: scene.administer(username=scene.site.add_user().name),
    "user": of_fresh_user,
    "user-deleted": of_fresh_user,
    "user-disabled-by-admin": lambda scene: scene.administer(),
    "user-rotated": lambda scene: scene.administer(),
    "user-rotated-by-root": lambda scene: scene.administer("root"),
    "action-unknown": lambda scene: scene.administer(action="make"),
    "key-found": found_key,
    "find-key-missing": as_administrator(no="key"),
    "log": own_log,
    "actor-malformed": lambda scene: scene.plain(scene.administrator(), query="?actor=me"),
    "no-right": lambda scene: scene.plain(query=f"?user_id={2**40}"),
    "user-not-found": no_user,
    "user-id-malformed": lambda scene: scene.plain(query="?user_id=me"),
    # several operations
    "authorization-missing": authorization(Authorization=None),
    "authorization-malformed": authorization(Authorization="Basic dXNlcjpwYXNz"),
    "user-malformed": authorization(New_Api_User="alice"),
    "credentials-wrong": authorization(Authorization="Bearer wrong"),
    "user-disabled": disabled,
    "token-not-found": lambda scene: scene.plain(
        scene.caller(), token_id=2**40, body={"key": UNKNOWN_KEY} if scene.operation == "findToken" else None,
    ),
    "token-unreadable": unreadable_token,
    "body-too-large": lambda scene: scene.plain(scene.caller(), body=b" " * (1 << 20) + b"{}"),
    "too-many-requests": too_many,
    "unavailable": lambda scene: scene.plain(scene.fixture("down").http()),
    "path-not-found": lambda scene: scene.plain(token_id="x"),
    "method-not-allowed": lambda scene: scene.plain(),
    NO_CONTENT: lambda scene: scene.plain(),
}


@pytest.fixture(scope="module")
def damaged():
    """A client, and the id of a token whose record is damaged."""
    with Site(workers=1) as site:
        user = site.http(site.add_user())
        token = user.make(name="to be damaged")
        site.damage_token("to be damaged")
        yield user, token["id"]


@pytest.fixture(scope="module")
def damaged_record():
    """The same with an unreadable record, because the use of a key does not unseal it."""
    with Site(workers=1) as site:
        user = site.http(site.add_user())
        gateway = site.gateway()
        token = user.make(name="to be cut")
        reserved = gateway.reserve(key=token["key"], amount=1).data
        site.damage_version("to be cut")
        administrator = site.http(site.add_user(role="admin"))
        yield user, {**token, "gateway": gateway, "reservation": reserved["reservation"], "administrator": administrator}


@pytest.fixture(scope="module")
def with_groups():
    """A site with groups, and a key whose group is none of them."""
    with Site(workers=1) as site:
        key = site.http(site.add_user()).make(group="gone")["key"]
        site.ctl("group", "add", "paid", "--yes")
        yield site, key


@pytest.fixture(scope="module")
def full():
    with Site(workers=1, TOKEN_MAP_SIZE="1M") as site:
        user = site.http(site.add_user())
        while user.create([{"model_limits": "m" * 8000}] * 5).status == 200:
            pass
        yield site


@pytest.fixture(scope="module")
def down():
    """nginx without a pool."""
    with Site(pool=False) as site:
        yield site


@pytest.fixture(scope="module")
def limited():
    """An nginx that limits this machine's requests too."""
    with Site(pool=False, nginx_changes=[(r"127\.0\.0\.0/8  1;", "127.0.0.0/8  0;")]) as site:
        yield site


def media(node):
    return resolve(node).get("content", {}).get("application/json", {})


def answers():
    """Each answer of each operation: (operation, status, example's name, example, body)."""
    for path, item in SPEC["paths"].items():
        if path == OTHER_PATHS:
            yield from examples_of(OTHER_PATHS, "404", item, {})
            continue
        if OTHER_METHODS in item:
            yield from examples_of(path, "405", item[OTHER_METHODS], {})
    for _, _, operation in contract.operations():
        bodies = media(operation.get("requestBody", {})).get("examples", {})
        for status, response in operation["responses"].items():
            yield from examples_of(operation["operationId"], status, response, bodies)


def examples_of(operation, status, response, bodies):
    reasons = resolve(response).get("headers", {}).get("X-Token-Reason")
    if reasons:
        examples = {f"reason-{reason}": None for reason in reasons["schema"]["enum"]}
    elif (operation, status) == ("verifyKey", "204"):
        examples = {"verified": None}
    else:
        examples = media(response).get("examples", {NO_CONTENT: {}})
    for name, example in examples.items():
        body = bodies.get(name, {}).get("value")
        yield pytest.param(
            operation, status, name, example, body, id=f"{operation}-{status}-{name}"
        )


# These differ from run to run; only their type is compared.
VOLATILE = {
    *("id", "user_id", "key", "created_time", "accessed_time", "token_id", "reservation"),
    *("username", "display_name", "access_token", "time", "address", "request_id", "date"),
    *("1", "2"),  # keys by id
}


def assert_alike(live, example):
    """Fails if an answer differs from its example, except in values that must differ."""
    assert type(live) is type(example)
    if isinstance(example, dict):
        assert list(live) == list(example)
        for name, value in example.items():
            if name in VOLATILE:
                assert type(live[name]) is type(value)
            else:
                assert_alike(live[name], value)
    elif isinstance(example, list):
        assert len(live) == len(example)
        for one, other in zip(live, example):
            assert_alike(one, other)
    else:
        assert live == example


@pytest.mark.parametrize("operation, status, name, example, body", answers())
def test_example(request, operation, status, name, example, body):
    reply = SCENARIOS[name](Scene(request, operation, body))
    assert reply.status == int(status), reply
    if name.startswith("reason-"):
        assert reply.headers["x-token-reason"] == name.removeprefix("reason-")
    elif name == "verified":
        assert reply.headers["x-token-remain"] == "999995"
    elif name == NO_CONTENT:
        assert reply.body == b""
    else:
        assert_alike(reply.json, example["value"])


def test_each_scenario_has_an_example():
    assert set(SCENARIOS) == {param.values[2] for param in answers()}


def test_each_request_example_has_its_answer():
    for _, _, operation in contract.operations():
        requests = set(media(operation.get("requestBody", {})).get("examples", {}))
        found = {
            name
            for response in operation["responses"].values()
            for name in media(response).get("examples", {})
        }
        assert requests <= found


def test_parameters_examples(user):
    """The example of a parameter is accepted."""
    for path, asked in (("/api/token/", user.list), ("/api/token/search", user.search)):
        for parameter in map(resolve, SPEC["paths"][path]["get"]["parameters"]):
            assert asked(f"?{parameter['name']}={parameter['example']}").status == 200
