"""The two pages of the admin on which a table is imported, and the button that exports one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from import_export.admin import ImportExportMixin
from import_export.formats.base_formats import CSV
from import_export.forms import ImportForm
from import_export.results import Result

MOST_BYTES = 1_000_000


class UploadForm(ImportForm):  # type: ignore[misc]
    import_file = forms.FileField(
        label="Table (CSV)",
        widget=forms.FileInput({"accept": ".csv,text/csv"}),
        help_text="With the columns of an exported one. You see what it changes before anything does.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["format"].widget = forms.HiddenInput()

    @property
    def media(self) -> forms.Media:
        """The library's script guesses among formats; there is one."""
        return forms.Media()

    def clean_import_file(self) -> UploadedFile:
        file: UploadedFile = self.cleaned_data["import_file"]
        if (file.size or 0) > MOST_BYTES:
            raise ValidationError(f"A table may be {MOST_BYTES:,} bytes long at most.")
        return file


class Tables(ImportExportMixin):  # type: ignore[misc]
    """For a ModelAdmin: imports by whoever may add and change, exports by whoever may view."""

    formats = (CSV,)
    import_form_class = UploadForm
    import_template_name = "admin/inventory/import.html"
    skip_export_form = True

    def has_import_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_add_permission(request) and self.has_change_permission(request))

    def has_export_permission(self, request: HttpRequest) -> bool:
        return bool(self.has_view_permission(request))

    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().process_import(request, **kwargs)
        except FileNotFoundError:
            # Another machine has it, or it was imported already.
            self.message_user(request, "The uploaded table is not here any more: choose it again.", messages.ERROR)
            return HttpResponseRedirect("../import/")
        return answer

    def process_result(self, result: Result, request: HttpRequest) -> HttpResponse:
        """What was fine when it was shown may be refused now; then nothing is imported, and that is said."""
        if not (result.has_errors() or result.has_validation_errors()):
            imported: HttpResponse = super().process_result(result, request)
            return imported
        self.message_user(request, "Nothing was imported: things have changed since the preview.", messages.ERROR)
        context = {
            **self.admin_site.each_context(request),
            "title": "Import",
            "form": UploadForm(self.get_import_formats(), self.get_import_resource_classes(request)),
            "opts": self.opts,
            "media": self.media,
            "result": result,
        }
        return TemplateResponse(request, [self.import_template_name], context)
