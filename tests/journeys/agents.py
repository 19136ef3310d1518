"""Agents that call the tools: programs with a token, and Slack on behalf of a person, over real connections."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bot.demo.sending import Response, slack_signature
from storage.tokens import create_token
from tests.journeys.acme import REP, SIGNING, TEAM, Acme

JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a tool: its sentence, its document (None for a mistake), and the blocks for Slack."""

    text: str
    document: Any
    is_mistake: bool
    blocks: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """An agent of a person in Slack, or a program with a token."""

    acme: Acme
    token: str | None = None
    user: str = REP
    team: str = TEAM

    async def send(self, document: object, headers: Mapping[str, str] | None = None) -> Response:
        """Send a document as a request of this agent."""
        body = json.dumps(document).encode()
        proof = {"Authorization": f"Bearer {self.token}"} if self.token else self.sign(body)
        return await self.acme.sandbox.raw("/mcp", body=body, headers={**JSON, **proof, **(headers or {})})

    def sign(self, body: bytes) -> dict[str, str]:
        """Return the headers with which Slack signs a body now."""
        return slack_signature(body, secret=SIGNING, timestamp=int(self.acme.sandbox.clock.now()))

    async def ask(self, method: str, **params: object) -> Any:
        """Call a method, and return the result; fail for an error."""
        response = await self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        assert response.status == 200, response
        document = response.json()
        assert (document["jsonrpc"], document["id"]) == ("2.0", 1)
        return document["result"]

    def request(self, tool: str, **arguments: object) -> dict[str, object]:
        """Return the request that calls a tool; for a person, Slack says who it is."""
        meta = {} if self.token else {"_meta": {"slack": {"user_id": self.user, "team_id": self.team}}}
        params = {"name": tool, "arguments": arguments, **meta}
        return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}

    async def call(self, tool: str, **arguments: object) -> Answer:
        """Call a tool, and return its result."""
        response = await self.send(self.request(tool, **arguments))
        assert response.status == 200, response
        return read_answer(response)


def read_answer(response: Response) -> Answer:
    """Return the result of a tool in a response."""
    result = response.json()["result"]
    is_mistake = result["isError"]
    texts = [block["text"] for block in result["content"]]
    if not is_mistake:  # clients that show text only get the same data
        assert json.loads(texts[1]) == result["structuredContent"]
    return Answer(
        text=texts[0],
        document=result.get("structuredContent"),
        is_mistake=is_mistake,
        blocks=result.get("_meta", {}).get("slack", {}).get("blocks", []),
    )


async def program(acme: Acme, *scopes: str, name: str = "agent") -> Agent:
    """Create a token, and return a program that uses it."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    _, secret = await create_token(acme.workspace, name=name, scopes=scopes or ("read", "write"), by="U0ADMIN", now=now)
    return Agent(acme=acme, token=secret)


async def call_api(agent: Agent, method: str, path: str, document: object = None) -> tuple[int, Any]:
    """Call the API with the token of an agent, and return the status and the document."""
    url = f"{agent.acme.sandbox.app_url}/api/v1{path}"
    headers = {"Authorization": f"Bearer {agent.token}"}
    body = None if document is None else json.dumps(document)
    async with agent.acme.sandbox.http.request(method, url, data=body, headers=headers) as answer:
        return answer.status, json.loads(await answer.text())
