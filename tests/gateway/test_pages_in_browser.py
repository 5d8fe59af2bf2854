"""The pages as a person has them: a real Chromium, on a phone and on a desk."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from deployments.gateway.app import build_app
from tests.gateway import page_stories as stories
from tests.gateway.stack import served, spoil, until_true

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 360, "height": 740}
DESK = {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.components,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no Chromium at {CHROMIUM}"),
]

LogIn = Callable[..., Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def app(database: str) -> FastAPI:
    assert database
    return build_app()


@pytest.fixture
def gateway(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def log_in(chromium: Browser, gateway: str) -> Iterator[LogIn]:
    """A person's browser, logged in by the form; what it complains of is kept on the page."""
    contexts: list[BrowserContext] = []

    def make(name: str, role: str, size: dict[str, int] = PHONE, **how: object) -> Page:
        context = chromium.new_context(viewport=size, base_url=gateway, **how)
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("Your personal token").fill(stories.token(name, role))
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Incidents")
        return page

    yield make
    for context in contexts:
        context.close()


def approve(page: Page) -> None:
    page.get_by_label("I have read the 2 steps").check()
    page.get_by_role("button", name="Approve plan").click()


def decisions(incident: str) -> list[tuple[str, str]]:
    return [(made.by, made.decision) for made in stories.state_of(incident).decisions]


def assert_fits(page: Page) -> None:
    """Nothing is wider than the screen, so that nobody scrolls sideways."""
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"{wide} pixels too wide at {page.url}"


def test_plan_is_found_read_and_approved_on_a_phone(log_in: LogIn, tmp_path: Path) -> None:
    incident = stories.tampered()
    plan = stories.planned(incident)
    page = log_in("bea", "approver")
    assert_fits(page)
    page.screenshot(path=tmp_path / "list-phone.png", full_page=True)
    page.get_by_role("link", name="Read the plan and decide").click()
    asked = page.get_by_role("region", name="Decision needed")
    expect(asked).to_contain_text(plan.hash[:12])
    expect(asked).to_contain_text(stories.DESTROYS)
    assert_fits(page)
    page.screenshot(path=tmp_path / "incident-phone.png", full_page=True)
    page.get_by_role("button", name="Approve plan").click()
    assert decisions(incident) == []  # the box is not ticked: the browser itself stops it
    approve(page)
    expect(page.get_by_role("status").first).to_have_text("Your approval is recorded.")
    expect(page.get_by_role("region", name="Plan: approved")).to_be_visible()
    assert decisions(incident) == [("bea", "approved")]


def test_denial_with_a_reason_ends_the_asking(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident)
    page = log_in("bea", "approver", DESK)
    page.goto(f"/i/{incident}")
    page.get_by_role("button", name="Deny plan").click()
    assert decisions(incident) == []
    page.get_by_label("Why not").fill("the backup is too old")
    page.get_by_role("button", name="Deny plan").click()
    expect(page.get_by_role("region", name="Plan: denied")).to_contain_text("the backup is too old")
    expect(page.get_by_role("button", name=re.compile("Approve"))).to_have_count(0)
    assert decisions(incident) == [("bea", "denied")]


def test_second_approver_sees_the_first_ones_approval_appear_and_completes_it(
    log_in: LogIn,
) -> None:
    incident = stories.opened()
    stories.planned(incident, needed=2)
    first, second = log_in("bea", "approver"), log_in("carl", "approver")
    for page in (first, second):
        page.goto(f"/i/{incident}")
        expect(page.locator("#plan")).to_contain_text("0 of 2")
    second.get_by_label("Remark").fill("checked the backup my")
    approve(first)
    expect(first.locator("#plan")).to_contain_text("Another person must approve it too.")
    expect(second.locator("#plan")).to_contain_text("1 of 2")  # without a reload
    expect(second.get_by_label("Remark")).to_have_value("checked the backup my")
    expect(second.get_by_label("Remark")).to_be_focused()
    second.keyboard.type("self")
    approve(second)
    expect(second.get_by_role("region", name="Plan: approved")).to_be_visible()
    assert decisions(incident) == [("bea", "approved"), ("carl", "approved")]
    assert stories.state_of(incident).decisions[1].reason == "checked the backup myself"


def test_hostile_alert_runs_no_script_and_breaks_no_rule_of_the_page(log_in: LogIn) -> None:
    script = "<script>window.evil = 1; alert(1)</script>"
    image = '"><img src=x onerror="window.evil = 2; alert(2)">'
    incident = stories.opened(f"Alert: {script}")
    stories.alerted(
        incident, alertname=script, instance=image, url="javascript:alert(3)", wide="w" * 1000
    )
    stories.graded(incident, "P1", reason=image)
    page = log_in("bea", "approver")
    dialogs: list[str] = []
    complaints: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    for path in ("/", f"/i/{incident}"):
        page.goto(path)
        expect(page.get_by_text(script).first).to_be_visible()
        assert page.evaluate("window.evil") is None
        assert_fits(page)
    page.locator("details.alert summary").click()
    expect(page.get_by_text("javascript:alert(3)")).to_be_visible()
    assert_fits(page)
    assert page.locator("a[href^='javascript' i]").count() == 0
    stories.tell(incident, stories.FactKind.NOTE, {"text": f"live {script}"})
    expect(page.locator("#timeline")).to_contain_text(f"live {script}")
    assert page.evaluate("window.evil") is None
    assert (dialogs, complaints) == ([], [])


def test_plan_that_changes_under_the_finger_cannot_be_approved(log_in: LogIn) -> None:
    incident = stories.opened()
    old = stories.planned(incident)
    page = log_in("bea", "approver")
    page.goto(f"/i/{incident}")
    page.get_by_label("I have read the 2 steps").check()
    new = stories.planned(incident, observed={"production_oid": 17000})
    expect(page.get_by_text("This plan has changed since you opened the page")).to_be_visible()
    expect(page.get_by_role("button", name="Approve plan")).to_be_disabled()
    expect(page.locator("#plan")).to_contain_text(old.hash[:12])
    page.get_by_role("link", name="Show the plan that stands now").click()
    expect(page.locator("#plan .plan-id")).to_contain_text(new.hash[:12])
    expect(page.get_by_label("I have read the 2 steps")).not_to_be_checked()
    assert decisions(incident) == []


def turn(page: Page, *, hidden: bool) -> None:
    """As when the person turns to another tab, or back: a headless browser never does."""
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_tabs_that_nobody_looks_at_do_not_listen_and_are_fresh_when_looked_at_again(
    log_in: LogIn, app: FastAPI
) -> None:
    incident = stories.opened()
    first = log_in("bea", "viewer")
    first.goto(f"/i/{incident}")
    turn(first, hidden=True)
    until_true(lambda: app.state.live.listeners == 0)
    for _ in range(8):  # one more than a browser has connections to one place
        tab = first.context.new_page()
        tab.goto(f"/i/{incident}")
        expect(tab.locator("#timeline")).to_be_visible()
        until_true(lambda: app.state.live.listeners == 1)
        turn(tab, hidden=True)
        until_true(lambda: app.state.live.listeners == 0)
    stories.tell(incident, stories.FactKind.NOTE, {"text": "said meanwhile"})
    expect(first.locator("#timeline")).not_to_contain_text("said meanwhile", timeout=1)
    turn(first, hidden=False)
    expect(first.locator("#timeline")).to_contain_text("said meanwhile")
    assert app.state.live.listeners == 1


def test_page_that_was_refused_its_stream_is_live_again_when_there_is_room(
    log_in: LogIn, app: FastAPI
) -> None:
    incident = stories.opened()
    page = log_in("bea", "viewer")
    page.goto("/quarantine")
    page.clock.install()
    app.state.live.limit = 0
    page.goto(f"/i/{incident}")
    expect(page.locator("#news")).to_have_text("Not live: this page may be old.")
    until_true(lambda: app.state.live.listeners == 0)  # that of the page before is gone
    app.state.live.limit = 200
    stories.tell(incident, stories.FactKind.NOTE, {"text": "said meanwhile"})
    page.clock.fast_forward(5000)
    until_true(lambda: app.state.live.listeners == 1)
    page.clock.run_for(200)
    expect(page.locator("#timeline")).to_contain_text("said meanwhile")
    expect(page.locator("#news")).not_to_contain_text("Not live")


def test_page_of_who_is_logged_out_says_so_and_is_live_after_the_next_login(
    log_in: LogIn, app: FastAPI
) -> None:
    incident = stories.opened()
    page = log_in("bea", "viewer")
    page.goto(f"/i/{incident}")
    until_true(lambda: app.state.live.listeners == 1)
    turn(page, hidden=True)
    cookies = page.context.cookies()
    page.context.clear_cookies()
    turn(page, hidden=False)
    expect(page.locator("#news")).to_have_text("Not live: log in again, in this tab or another.")
    page.context.add_cookies(cookies)
    turn(page, hidden=True)
    turn(page, hidden=False)
    until_true(lambda: app.state.live.listeners == 1)
    expect(page.locator("#news")).to_be_empty()


@pytest.mark.slow
def test_plan_expires_before_the_eyes_of_who_waits_too_long(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident, valid_for=timedelta(seconds=6))
    page = log_in("bea", "approver")
    page.goto(f"/i/{incident}")
    expect(page.locator("#plan .left")).to_have_text(re.compile("in [1-6] s"))
    expect(page.locator("#plan .left")).to_have_text("time is over")
    approve(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Not possible as things stand")
    expect(page.get_by_role("alert")).to_contain_text("expired")
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_role("region", name="Plan: expired")).to_be_visible()
    assert decisions(incident) == []


@pytest.mark.slow
def test_everything_essential_works_without_javascript(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident)
    page = log_in("bea", "approver", java_script_enabled=False)
    page.get_by_role("link", name="Read the plan and decide").click()
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.locator("#said")).to_have_text("Recorded: you have taken notice.")
    page.get_by_label("Note for the timeline").fill("by hand")
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator("#timeline")).to_contain_text("by hand")
    page.get_by_text("Hold: stop changes").click()
    page.get_by_label("Scope: a target").first.fill("database/rlhf_audit")
    page.locator("#hold-reason").fill("look first")
    page.get_by_role("button", name="Set the hold").click()
    expect(page.locator("#holds")).to_contain_text("look first")
    approve(page)
    expect(page.get_by_role("region", name="Plan: approved")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


@pytest.mark.slow
def test_decision_is_reached_and_made_by_keyboard_alone(log_in: LogIn) -> None:
    incident = stories.opened()
    stories.planned(incident)
    page = log_in("bea", "approver", DESK)
    page.goto(f"/i/{incident}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tick = page.get_by_label("I have read the 2 steps")
    for _ in range(40):
        page.keyboard.press("Tab")
        if tick.evaluate("node => node === document.activeElement"):
            break
    expect(tick).to_be_focused()
    outline = tick.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Plan: approved")).to_be_visible()
    assert decisions(incident) == [("bea", "approved")]


@pytest.mark.slow
def test_link_in_chat_opens_the_incident_of_who_is_logged_in(log_in: LogIn) -> None:
    incident = stories.opened()
    page = log_in("bea", "approver")
    address = page.url.rstrip("/") + f"/i/{incident}"
    page.route(
        "http://chat.invalid/**",
        lambda route: route.fulfill(
            body=f'<a href="{address}">from chat</a>', content_type="text/html"
        ),
    )
    page.goto("http://chat.invalid/room")
    page.get_by_role("link", name="from chat").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("API: slow")
    assert page.url == address


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_a_desk(log_in: LogIn, tmp_path: Path, scheme: str) -> None:
    incident = stories.tampered()
    stories.planned(incident, needed=2, observed={"production_oid": 16399})
    stories.planned(incident, needed=2)
    elsewhere = stories.opened("w" * 160, "infrastructure")
    stories.graded(elsewhere, "P2")
    hold = {"scope": "*", "reason": "w" * 200, "needs": "a person's lift"}
    stories.tell(elsewhere, stories.FactKind.HOLD_SET, hold, actor="w" * 80)
    spoil(stories.opened("lost", "cache"))
    stories.closed()
    for name, size in (("phone", PHONE), ("desk", DESK)):
        page = log_in("bea", "approver", size, color_scheme=scheme)
        for path in ("", f"i/{incident}", "declare", "hold", "quarantine", "i/INC-none", "login"):
            page.goto(f"/{path}")
            assert_fits(page)
            shown = path.replace("/", "-") or "list"
            page.screenshot(path=tmp_path / f"{shown}-{name}-{scheme}.png", full_page=True)
