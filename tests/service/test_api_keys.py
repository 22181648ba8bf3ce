"""API keys: drawn at random, checked before the database is asked, kept as digests, and gone when they are revoked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.service import Clock, caller, opened
from watchword.errors import NotFoundError, QuotaError, UsageError
from watchword.service.db import Database
from watchword.service.keys import draw_key, id_in, key_digest, well_formed
from watchword.service.settings import TenantLimits
from watchword.service.types.tenants import Principal, Scope


def test_a_drawn_key_is_well_formed_and_never_shown() -> None:
    drawn, other = draw_key(), draw_key()
    assert well_formed(drawn.text)
    assert id_in(drawn.text) == drawn.id
    assert key_digest(drawn.text) == drawn.digest
    assert drawn.text != other.text
    assert drawn.text not in repr(drawn)
    assert drawn.digest not in repr(drawn)


# One for all examples: Hypothesis plays an example again, and a letter that fits one key may stand in another.
KEY = draw_key().text


@given(st.data())
def test_a_mistyped_key_is_found_without_a_database(data: st.DataObject) -> None:
    text = KEY
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019_-é").filter(lambda letter: letter != text[place]))
    assert not well_formed(text[:place] + letter + text[place + 1 :])
    assert not well_formed(text[:-1])


@given(st.text())
def test_any_text_has_a_digest_and_most_are_no_keys(text: str) -> None:
    assert len(key_digest(text)) == 64
    assert not well_formed(text)


def test_a_key_opens_until_it_is_revoked_or_has_expired(database: Database, clock: Clock) -> None:
    drawn, short = draw_key(), draw_key()
    database.create_key(drawn, "acme", scope=Scope.OPERATOR, name="laptop")
    database.create_key(short, "acme", expires_at=clock() + 10)
    assert database.principal_of(drawn.digest) == Principal("acme", drawn.id, Scope.OPERATOR)
    assert database.principal_of(short.digest) == Principal("acme", short.id)
    clock.passes(10)
    assert database.principal_of(short.digest) is None
    assert database.revoke_key(drawn.id).revoked_at == clock()
    assert database.revoke_key(drawn.id).revoked_at == clock()
    assert database.principal_of(drawn.digest) is None
    assert database.principal_of(key_digest("")) is None
    assert {key.id for key in database.keys("acme")} == {drawn.id, short.id}
    assert database.keys("rival") == []
    with pytest.raises(NotFoundError):
        database.revoke_key("keynone")


@pytest.mark.parametrize("name", ["", "a/b", "a b", "é", "x" * 65, "a:b", "-" * 3])
def test_a_tenants_name_fits_everywhere(name: str, database: Database) -> None:
    with pytest.raises(UsageError, match="the tenant's name"):
        database.create_key(draw_key(), name)


def test_too_many_calls_wait_and_the_bucket_fills_again(database_url: str, clock: Clock) -> None:
    with opened(database_url, now=clock, limits=lambda _: TenantLimits(requests_per_minute=3)) as database:
        for _ in range(3):
            database.spend(caller())
        with pytest.raises(QuotaError, match="3 calls a minute") as caught:
            database.spend(caller())
        assert caught.value.retry_after == 20
        # Other keys have buckets of their own; a clock that goes back refills none.
        database.spend(caller("rival"))
        clock.passes(-3600)
        with pytest.raises(QuotaError):
            database.spend(caller())
        clock.passes(20)
        database.spend(caller())
