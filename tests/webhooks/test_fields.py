import time

import pytest
from cryptography.fernet import Fernet
from django.db import connection
from pytest_django.fixtures import Settings

from tests.webhooks.factories import make_subscription
from webhooks import fields
from webhooks.models import Subscription


class TestPublicId:
    def test_begins_with_its_prefix_and_is_never_the_same(self) -> None:
        ids = {fields.new_public_id("ord") for _ in range(1_000)}

        assert len(ids) == 1_000
        assert all(one.startswith("ord_") and one == one.lower() and len(one) == 30 for one in ids)
        assert not any("." in one for one in ids)

    def test_sorts_by_time(self) -> None:
        ids = []
        for _ in range(20):
            ids.append(fields.new_public_id("ord"))
            time.sleep(0.002)

        assert ids == sorted(ids)

    def test_is_made_with_the_object_and_unique(self) -> None:
        subscription = Subscription()

        assert subscription.public_id.startswith("sub_")
        assert subscription.public_id != Subscription().public_id
        assert Subscription._meta.get_field("public_id").unique

    def test_survives_a_migration(self) -> None:
        _, _, args, kwargs = fields.PublicIdField("ord").deconstruct()

        copy = fields.PublicIdField(*args, **kwargs)

        assert (copy.prefix, copy.max_length, copy.unique, copy.editable) == ("ord", 32, True, False)


@pytest.mark.django_db
class TestEncrypted:
    def stored(self, column: str) -> str:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM webhooks_subscription")
            names = [described[0] for described in cursor.description]
            return str(cursor.fetchone()[names.index(column)])

    def test_is_unreadable_in_the_database_and_readable_in_the_program(self) -> None:
        subscription = make_subscription(headers={"x-api-key": "Bearer s3cret"})

        assert "s3cret" not in self.stored("headers")
        assert subscription.secrets[0]["secret"] not in self.stored("secrets")
        assert Subscription.objects.get().headers == {"x-api-key": "Bearer s3cret"}
        assert Subscription.objects.get().secrets == subscription.secrets

    def test_is_written_differently_every_time(self) -> None:
        assert fields.encrypt("s3cret") != fields.encrypt("s3cret")

    def test_can_be_read_with_an_older_key_and_is_written_with_the_newest(self, settings: Settings) -> None:
        old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
        settings.ENCRYPTION_KEYS = [old]
        before = fields.encrypt("s3cret")
        settings.ENCRYPTION_KEYS = [new, old]

        after = fields.encrypt("s3cret")

        assert fields.decrypt(before) == "s3cret"
        assert Fernet(new).decrypt(after.encode()) == b"s3cret"

    @pytest.mark.parametrize("token", ["", "nonsense", '{"x-api-key": "k1"}'])
    def test_that_is_no_token_is_never_handed_out(self, token: str) -> None:
        with pytest.raises(fields.UnreadableSecret):
            fields.decrypt(token)

    def test_written_with_a_key_that_is_gone_raises_with_what_to_do(self, settings: Settings) -> None:
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
        make_subscription(headers={"x-api-key": "s3cret"})
        settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]

        with pytest.raises(fields.UnreadableSecret, match="ENCRYPTION_KEYS") as raised:
            Subscription.objects.get()

        assert "gAAAA" not in str(raised.value)
