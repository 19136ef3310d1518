"""Web API methods that open, push, update and publish views."""

from typing import Any

from bot.demo.answers import checked_view, open_modal, update_view
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import view_json
from bot.demo.world import Json, View


def open_view(call: Arguments) -> Json:
    return _open_view(call, push=False)


def push_view(call: Arguments) -> Json:
    return _open_view(call, push=True)


def change_view(call: Arguments) -> Json:
    view = _find_view(call)
    if call.text("hash") not in ("", view.hash):
        raise SlackError("hash_conflict")
    content = checked_view(call.world, _read_view(call), view.type)
    return {"view": view_json(call.world, update_view(call.world, view, content))}


def publish_view(call: Arguments) -> Json:
    world, person = call.world, call.world.people.get(call.needed("user_id"))
    if person is None:
        raise SlackError("user_not_found")
    content = checked_view(world, _read_view(call), "home")
    home = world.homes.get(person.id)
    if home is None:
        name = world.new_id("V")
        home = world.keep(View(id=name, user=person.id, content=content, hash=world.clock.stamp(), root=name))
    elif call.text("hash") not in ("", home.hash):
        raise SlackError("hash_conflict")
    else:
        home = update_view(world, home, content)
    return {"view": view_json(world, home)}


def _open_view(call: Arguments, *, push: bool) -> Json:
    trigger = call.needed("trigger_id")
    content = checked_view(call.world, _read_view(call), "modal")
    user = call.world.spend_trigger(trigger).user
    return {"view": view_json(call.world, open_modal(call.world, user, content, push=push))}


def _read_view(call: Arguments) -> Any:
    call.needed("view")
    return call.structure("view")


def _find_view(call: Arguments) -> View:
    if name := call.text("view_id"):
        view = call.world.view(name)
    else:
        name = call.needed("external_id")
        modals = [view for stack in call.world.modals.values() for view in stack]
        matches = (
            candidate
            for candidate in [*modals, *call.world.homes.values()]
            if candidate.content.get("external_id") == name
        )
        view = next(matches, None)
    if view is None:
        raise SlackError("not_found")
    return view
