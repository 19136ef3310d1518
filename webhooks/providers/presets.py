"""List the providers without a signature scheme or a body format of their own. They differ only in their steps.

ActiveCampaign: https://help.activecampaign.com/hc/en-us/articles/115001403484
Zoho CRM: https://help.zoho.com/portal/en/kb/crm/automate-business-processes/actions/articles/webhooks-workflow
Freshsales: https://support.freshsales.io/support/solutions/articles/228946
Marketo: https://experienceleague.adobe.com/docs/marketo-developer/marketo/webhooks/webhooks.html
Zapier: https://help.zapier.com/hc/en-us/articles/8496326446989
n8n: https://docs.n8n.io/integrations/builtin/core-nodes/n8n-nodes-base.httprequest/
Make: https://apps.make.com/http"""

from collections.abc import Mapping

from storage.domain.sources import SetupStep
from webhooks.authentication.recipes import choose_authenticator
from webhooks.providers.contract import Provider
from webhooks.read import flat_fields
from webhooks.read.bodies import FORM, JSON

_BEARER = SetupStep("Add the header Authorization: Bearer {secret}")
_FIELDS = SetupStep(
    "Send the address as email, each score by its name, and an event_id or the time as occurred_at: without either"
    " the same body again counts as a repeat"
)
_MAP = SetupStep("Fields with other names are mapped", {"map": "lead_score=score"})

_STEPS: Mapping[str, tuple[SetupStep, ...]] = {
    "activecampaign": (
        SetupStep("In ActiveCampaign, add to an automation the action Webhook with the URL {url}?token={secret}"),
        SetupStep(
            "It sends the contact with its custom fields as a form, and the token in the address",
            {"token-in": "query:token"},
        ),
        _MAP,
    ),
    "zoho": (
        SetupStep("In Zoho CRM, under Setup, Automation, Actions, Webhooks, make one with POST to {url}"),
        SetupStep(
            "Add the header Authorization with the value Bearer {secret}; for a parameter token instead",
            {"token-in": "form:token"},
        ),
        SetupStep("Add parameters: email, score, and modified (the modified time)"),
        _MAP,
    ),
    "freshsales": (
        SetupStep("In Freshsales, under Admin Settings, Workflows, add the action Trigger webhook: POST, {url}, JSON"),
        _BEARER,
        SetupStep("Send email, the score fields, and updated_at"),
        _MAP,
    ),
    "marketo": (
        SetupStep("In Marketo, under Admin, Webhooks, make one with POST to {url} and a JSON template"),
        _BEARER,
        SetupStep(
            'Write the template with tokens: {{"email": "{{{{lead.Email Address}}}}", "leadScore": {{{{lead.Lead'
            " Score}}}}}}"
        ),
        SetupStep(
            "Add the time to it as occurred_at: without it a score that comes back to an earlier value counts as a"
            " repeat"
        ),
        SetupStep("Call it from the flow of a trigger campaign"),
        _MAP,
    ),
    "zapier": (
        SetupStep("In Zapier, add the action Webhooks by Zapier, POST, to {url}, payload type json"),
        _BEARER,
        _FIELDS,
        _MAP,
    ),
    "n8n": (
        SetupStep("In n8n, add an HTTP Request node: POST to {url}, body JSON"),
        _BEARER,
        _FIELDS,
        _MAP,
    ),
    "make": (
        SetupStep("In Make, add the module HTTP, Make a request: POST to {url}, body JSON"),
        _BEARER,
        _FIELDS,
        _MAP,
    ),
}


PRESETS: Mapping[str, Provider] = {
    name: Provider(
        steps=steps,
        reads=flat_fields.READS,
        leaves=flat_fields.LEAVES,
        proof=choose_authenticator,
        events={flat_fields.SNAPSHOT: flat_fields.read_flat_fields},
        split=flat_fields.split_objects,
        content_types=(JSON, FORM),
        takes=frozenset({"map", "username", "token", "recipe", "public_url"}),
    )
    for name, steps in _STEPS.items()
}
