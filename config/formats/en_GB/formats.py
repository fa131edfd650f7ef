"""Times with their seconds: in lists of entries, attempts and deliveries the order of two is what one looks for."""

DATETIME_FORMAT = "j M Y H:i:s"
