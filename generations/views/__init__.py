"""The pages. The look-up is the permission check: what is not visible to a person does not exist for them."""

from generations.views.files import clip, picture, poster
from generations.views.library import library
from generations.views.shell import stream, theme
from generations.views.show import cancel, show
from generations.views.studio import fields, generate, quote, studio, upload
from generations.views.updates import updates

__all__ = [
    "cancel",
    "clip",
    "fields",
    "generate",
    "library",
    "picture",
    "poster",
    "quote",
    "show",
    "stream",
    "studio",
    "theme",
    "updates",
    "upload",
]
