"""What a list may be asked for: its filters and its paging, and nothing else."""

from typing import Any

from django.db.models import QuerySet
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework.request import Request
from rest_framework.views import APIView

from webhooks.bodies import refuse_unknown


class KnownFilters(DjangoFilterBackend):  # type: ignore[misc]
    """A parameter that nobody reads is refused: a filter that is misspelt would answer with everything."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: APIView) -> QuerySet[Any]:
        refuse_unknown(request.query_params, [*self._filters(view, queryset), *_paging(view)])
        filtered: QuerySet[Any] = super().filter_queryset(request, queryset, view)
        return filtered

    def _filters(self, view: APIView, queryset: QuerySet[Any]) -> list[str]:
        filterset_class = self.get_filterset_class(view, queryset)
        return list(filterset_class.base_filters) if filterset_class else []


def _paging(view: Any) -> list[str]:
    return [view.paginator.cursor_query_param, view.paginator.page_size_query_param]
