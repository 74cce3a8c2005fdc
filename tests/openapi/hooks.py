"""What a schema cannot say, for the requests that schemathesis makes up.

A request is changed only from one valid value to another, so that a request made to be refused
still is.
"""

import re

import schemathesis

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)
HOST = "010e7741-1173-4a3b-88fa-c4e5905500ca"
HOSTNAME = "compute-0"
INSTANCE = "8d80875b-fa73-4ccb-bce3-1cd4df104400"
AGENT = "vim/1.0"
MAX_ACTION = 64


def is_uuid(value):
    return isinstance(value, str) and UUID.fullmatch(value) is not None


@schemathesis.hook
def before_call(context, case, **kwargs):
    # A request without a User-Agent would get the name of the HTTP client.
    if not any(name.lower() == "user-agent" for name in case.headers):
        case.headers["User-Agent"] = AGENT
    parameters = case.path_parameters
    if isinstance(parameters, dict) and is_uuid(parameters.get("uuid")):
        # Half of them known, so that not all is answered 404.
        if parameters["uuid"][0] in "01234567":
            parameters["uuid"] = HOST if "/hosts/" in case.operation.path else INSTANCE
        if isinstance(case.body, dict) and is_uuid(case.body.get("uuid")):
            case.body["uuid"] = parameters["uuid"]
    if isinstance(case.body, dict):
        if isinstance(case.body.get("hostname"), str):
            case.body["hostname"] = HOSTNAME
        action = case.body.get("action")
        # The limit is in bytes, which a schema cannot say.
        if isinstance(action, str) and len(action) <= MAX_ACTION:
            short = action.encode("utf-8", "surrogatepass")[:MAX_ACTION]
            case.body["action"] = short.decode("utf-8", "ignore")
