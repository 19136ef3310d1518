"""Web API methods that open, update and publish views."""

from bot.demo.blocks import Json
from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.payloads import view_json


def open_view(call: Arguments) -> Json:
    """Open a modal, in place of one that is open."""
    trigger, content = call.needed("trigger_id"), call.world.accept_view(call.needed("view"), "modal")
    return {"view": view_json(call.world, call.world.show(call.world.use_trigger(trigger), content))}


def change_view(call: Arguments) -> Json:
    view = call.world.view(call.needed("view_id"))
    if view is None:
        raise SlackError("not_found")
    if call.text("hash") not in ("", view.hash):
        raise SlackError("hash_conflict")
    content = call.world.accept_view(call.needed("view"), view.type)
    return {"view": view_json(call.world, call.world.update(view, content))}


def publish_view(call: Arguments) -> Json:
    person = call.person("user_id")
    content, home = call.world.accept_view(call.needed("view"), "home"), call.world.homes.get(person.id)
    published = call.world.update(home, content) if home else call.world.show(person.id, content)
    return {"view": view_json(call.world, published)}
