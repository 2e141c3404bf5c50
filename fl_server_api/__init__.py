"""The HTTP API: urls, views, request schemas, serializers, permissions, OpenAPI; admin."""
