"""What happens: trainer, aggregation, notification, Celery tasks."""
