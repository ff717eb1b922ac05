"""What a studio link takes and gives (contract, section 2)."""

from marshmallow import fields

from wire import Instant, Number, Wire

DAY_S, WEEK_S = 86_400, 604_800


class StudioCreate(Wire):
    expires_in = Number(60, WEEK_S, load_default=DAY_S)


class StudioOut(Wire):
    """Shown once: only a hash of what the address holds is kept."""

    studio_url = fields.String()
    expires_at = Instant()
