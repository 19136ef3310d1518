"""Define the routes of the API."""

from collections.abc import Callable

from aiohttp import web

from storage.tokens import TokenUses
from webhooks.api.access import Api
from webhooks.api.description import describe_routes
from webhooks.api.followups import IsMember
from webhooks.api.operations import BASE, make_operations


def api_routes(*, clock: Callable[[], int], is_member: IsMember, uses: TokenUses) -> list[web.RouteDef]:
    """Return the routes of the API, each with the scope that it requires, and those of its description."""
    api, operations = Api(clock=clock, uses=uses), make_operations(is_member=is_member)
    routes = []
    for operation in operations:
        handler, path = api.needs(operation.scope, operation.handler), f"{BASE}{operation.path}"
        # A route of `web.get` also answers HEAD.
        routes.append(
            web.get(path, handler) if operation.method == "GET" else web.route(operation.method, path, handler)
        )
    return [*routes, *describe_routes(operations)]
