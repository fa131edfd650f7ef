"""Every way to bring a picture: dropped, pasted, by link, the sample; and one that must stay closed."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import MEMBER, Visit
from tests.browser.people import Studio

GIVE = """(target, {name, type, bytes, how}) => {
  const data = new DataTransfer();
  data.items.add(new File([Uint8Array.from(atob(bytes), (it) => it.charCodeAt(0))], name, {type}));
  const event = how === "paste"
    ? new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true})
    : new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true});
  target.dispatchEvent(event);
}"""


def give(studio: Studio, where: str, file: Path, *, how: str, kind: str = "image/jpeg") -> None:
    """What the browser does when a person lets go of a file over `where`, or pastes it there."""
    encoded = base64.b64encode(file.read_bytes()).decode()
    content = {"name": file.name, "type": kind, "bytes": encoded, "how": how}
    studio.page.locator(where).evaluate(GIVE, content)


def refused(visit: Visit) -> Studio:
    """The studio of somebody who will be refused: Chromium notes the 422 in the console."""
    member = visit(MEMBER)
    member.forgive("status of 422")
    return member.studio()


def test_a_photo_can_be_dropped_anywhere_on_the_page(studio: Studio, photo: Path) -> None:
    give(studio, "#live", photo, how="drop")
    expect(studio.picture.locator(".shot-name")).to_have_text("harbour.jpg")
    expect(studio.picture).to_contain_text(re.compile(r"1280 . 720 px"))


def test_a_photo_can_be_pasted_while_writing_and_taken_out_again(studio: Studio, photo: Path) -> None:
    studio.prompt.fill("She turns to the window")
    give(studio, "#in-prompt", photo, how="paste")
    expect(studio.picture.locator(".shot-name")).to_have_text("harbour.jpg")
    expect(studio.prompt).to_have_value("She turns to the window")
    studio.picture.get_by_role("button", name="Remove").click()
    expect(studio.picture.locator(".shot")).to_have_count(0)
    expect(studio.prompt).to_have_value("She turns to the window")


def test_a_file_that_is_no_picture_is_refused_with_words(visit: Visit, tmp_path: Path) -> None:
    studio = refused(visit)
    text = tmp_path / "notes.txt"
    text.write_text("not a picture")
    give(studio, "body", text, how="drop", kind="text/plain")
    expect(studio.picture).to_contain_text("notes.txt is not a picture we take")
    lying = tmp_path / "lying.jpg"
    lying.write_text("<html>not a picture either</html>")
    give(studio, "body", lying, how="drop")
    expect(studio.picture.get_by_role("alert")).to_be_visible()
    expect(studio.picture.locator(".shot")).to_have_count(0)


def test_a_link_into_this_machine_is_refused_with_words(visit: Visit) -> None:
    studio = refused(visit)
    studio.picture.get_by_text("From a link").click()
    studio.picture.get_by_label("Address of the picture").fill("http://127.0.0.1/static/sample.jpg")
    studio.picture.get_by_role("button", name="Fetch it").click()
    expect(studio.picture.get_by_role("alert")).to_contain_text("private network")
    expect(studio.picture.locator(".shot")).to_have_count(0)


def test_the_sample_picture_is_there_for_whoever_has_none(studio: Studio) -> None:
    studio.take_sample()
    expect(studio.picture).to_contain_text("px")
    natural = studio.picture.locator(".shot img").evaluate("it => it.decode().then(() => it.naturalWidth)")
    assert natural > 300
