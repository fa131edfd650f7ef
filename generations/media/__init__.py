"""Pictures in, clips out: checks, probes, posters, private storage and ranged serving. No state, no money, no fal API.

`pictures` takes what people bring and fits it to an engine, `remote` fetches a picture from an address somebody
typed, `downloads` brings a finished clip home, `clips` proves that it plays and stores it, `serving` hands files out
behind the caller's permission check, `sample` draws a picture for whoever has none at hand.
"""

from generations.media.clips import StoredClip, store_clip
from generations.media.downloads import LocalClip, fetch_clip, may_fetch_from
from generations.media.errors import (
    ClipBroken,
    ClipError,
    ClipGone,
    ClipNotAllowed,
    ClipTooLarge,
    ClipUnreachable,
    MediaError,
    PictureRefused,
    StorageUnavailable,
)
from generations.media.pictures import Prepared, accept_picture, note, prepare_for, violations
from generations.media.probing import ClipFacts, poster, probe
from generations.media.remote import accept_picture_url
from generations.media.sample import sample_picture
from generations.media.serving import serve
from generations.media.storing import forget, sweep_scratch

__all__ = [
    "ClipBroken",
    "ClipError",
    "ClipFacts",
    "ClipGone",
    "ClipNotAllowed",
    "ClipTooLarge",
    "ClipUnreachable",
    "LocalClip",
    "MediaError",
    "PictureRefused",
    "Prepared",
    "StorageUnavailable",
    "StoredClip",
    "accept_picture",
    "accept_picture_url",
    "fetch_clip",
    "forget",
    "may_fetch_from",
    "note",
    "poster",
    "prepare_for",
    "probe",
    "sample_picture",
    "serve",
    "store_clip",
    "sweep_scratch",
    "violations",
]
