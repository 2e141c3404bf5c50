"""The forms of requests and answers: DRF serializers write answers, marshmallow reads requests."""
