"""What goes over the wire: DRF serializers write answers, marshmallow schemas read requests."""
