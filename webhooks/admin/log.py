"""Browsing a table of millions: newest first, paged by key, never counted, never written."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from webhooks.lookups import MAX_KEY, made_since, made_until

OLDER_THAN = "older_than"


class LogChangeList(ChangeList):
    """One page and whether there is an older one, in a single query."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        # Taken out here, so that no link of the page (a filter, a search) keeps it.
        parameters = request.GET.copy()
        parameters.pop(OLDER_THAN, None)
        self.older_than = request.GET.get(OLDER_THAN, "")
        request.GET = parameters  # type: ignore[assignment]
        self.older_url = ""
        super().__init__(request, *args, **kwargs)

    def get_results(self, request: HttpRequest) -> None:
        page = self.queryset
        if self.older_than.isascii() and self.older_than.isdecimal():
            page = page.filter(pk__lt=min(int(self.older_than[:20]), MAX_KEY))
        rows = list(page[: self.list_per_page + 1])
        self.result_list = rows[: self.list_per_page]
        if len(rows) > self.list_per_page:
            self.older_url = self.get_query_string({OLDER_THAN: self.result_list[-1].pk})
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = False
        self.show_admin_actions = bool(self.result_list)
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, self.list_per_page)


class LogAdmin(admin.ModelAdmin[Any]):
    """Read-only. Only the look-ups in `allowed_lookups` may come from the address bar: each has its index."""

    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    allowed_lookups: tuple[str, ...] = ()

    def get_changelist(self, request: HttpRequest, **_: Any) -> type[ChangeList]:
        return LogChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return lookup in self.allowed_lookups

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ExactFilter(admin.SimpleListFilter):
    """Shown only while it is on: `?label=1001`, as the links of the list set it."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = self.value()
        return [(value, value)] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class LabelFilter(ExactFilter):
    title = "order, SKU or e-mail"
    parameter_name = "label"


PERIODS = {"1h": "Past hour", "24h": "Past 24 hours", "7d": "Past 7 days", "30d": "Past 30 days"}
_LENGTH = {
    "1h": timedelta(hours=1),
    "24h": timedelta(days=1),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}


class TimeFilter(admin.ListFilter):
    """A period that ends now, or any `since` (included) and `until` (not included); in UTC where no zone is given."""

    title = "time"
    template = "admin/webhooks/time_filter.html"
    names = ("period", "since", "until")

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: type[Model], model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        self.used_parameters = {name: params.pop(name)[-1] for name in self.names if name in params}
        self.others = [pair for pair in request.GET.items() if pair[0] not in self.names]

    def has_output(self) -> bool:
        return True

    def expected_parameters(self) -> list[str | None]:
        return [*self.names]

    @property
    def since(self) -> str:
        return str(self.used_parameters.get("since", ""))

    @property
    def until(self) -> str:
        return str(self.used_parameters.get("until", ""))

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        period = self.used_parameters.get("period")
        for value, words in ((None, "Any time"), *PERIODS.items()):
            yield {
                "selected": period == value and not (self.since or self.until),
                "query_string": changelist.get_query_string({"period": value} if value else {}, remove=[*self.names]),
                "display": words,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        length = _LENGTH.get(str(self.used_parameters.get("period")))
        since = timezone.now() - length if length else _moment(self.since)
        until = _moment(self.until)
        if since is not None:
            queryset = made_since(queryset, since)
        return made_until(queryset, until) if until is not None else queryset


def _moment(text: str) -> datetime | None:
    """What a `datetime-local` input sends; None for junk, which filters nothing."""
    try:
        moment = parse_datetime(text)
        if moment is None:
            return None
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        # Overflow: a zone that leads beyond the calendar.
        return None
