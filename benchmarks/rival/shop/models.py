from django.db import models


class Order(models.Model):
    """Its JSON is about as long as a webhook.test event of ours."""

    number = models.CharField(max_length=40)
    note = models.CharField(max_length=400)

    def __str__(self) -> str:
        return self.number
