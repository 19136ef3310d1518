"""A client of the API: it calls the API over a real connection, with or without a token."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from yarl import URL

from storage.domain.people import Workspace
from storage.tokens import create_token
from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import Answer

NOTHING = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A client of one service."""

    service: Receiving
    authorization: str | None

    def saying(self, authorization: str | None) -> "Program":
        """Return a client with another Authorization header, or without one."""
        return replace(self, authorization=authorization)

    async def call(
        self, method: str, path: str, document: object = NOTHING, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Call a path under `/api/v1`, unchanged, with a document or with bytes."""
        own = {} if self.authorization is None else {"Authorization": self.authorization}
        body = (
            document if isinstance(document, bytes) else b"" if document is NOTHING else json.dumps(document).encode()
        )
        return await self.service.sender.request(
            method,
            URL(f"{self.service.url}/api/v1{path}", encoded=True),
            headers={**own, **(headers or {})},
            data=io.BytesIO(body) if body else None,  # the client requires this for a large body
        )

    async def get(self, path: str, **query: object) -> Any:
        """Return the document at a path."""
        query_text = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        answer = await self.call("GET", f"{path}?{query_text}" if query_text else path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8"), answer
        return answer.document

    async def listed(self, **query: object) -> list[Any]:
        """Return the addresses of all contacts, from all pages."""
        emails, parameters = [], dict(query)
        while True:
            answer = await self.get("/contacts", **parameters)
            emails += [item["email"] for item in answer["items"]]
            if answer["next_cursor"] is None:
                return emails
            parameters["cursor"] = answer["next_cursor"]


async def program(
    service: Receiving, *scopes: str, workspace: Workspace | None = None, name: str = "script"
) -> Program:
    """Create a token, and return a client that uses it."""
    in_workspace = workspace or service.workspace
    _, secret = await create_token(
        in_workspace, name=name, scopes=scopes or ("read", "write"), by="U0ADMIN", now=service.clock()
    )
    return Program(service=service, authorization=f"Bearer {secret}")
