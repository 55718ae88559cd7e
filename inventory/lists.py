"""What the lists of the admin share: counted no further than people read, and nothing is deleted from them."""

from typing import Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.utils.functional import cached_property

MOST_COUNTED = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST_COUNTED: a list's pages cost the same however long it is."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


class ListAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_max_show_all = 0
    list_per_page = 50
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        # The foot of the list says how many there are.
        changes.full_result_count = changes.result_count
        return changes

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What others refer to is put out of use, not deleted."""
        return False


class ReadOnlyAdmin(ListAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
